// Command pod is what the tests' containers run: one static program instead of a distribution's shell and tools.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// deadline bounds every attempt to reach something; the network of a pod may be a moment behind its start.
const deadline = 20 * time.Second

var verbs = map[string]func(string) error{
	"serve":   serve,
	"get":     get,
	"resolve": resolve,
	"say":     say,
	"write":   write,
	"read":    read,
	"sleep":   sleep,
}

// serve answers every request on port 8080 with the text.
func serve(text string) error {
	answer := func(writer http.ResponseWriter, _ *http.Request) { fmt.Fprintln(writer, text) }
	return http.ListenAndServe(":8080", http.HandlerFunc(answer))
}

func get(url string) error {
	return retry(func() error {
		client := http.Client{Timeout: 2 * time.Second, Transport: trustCluster()}
		response, err := client.Get(url)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(os.Stdout, response.Body)
		return err
	})
}

// trustCluster lets https reach the API server by the authority that is mounted into every pod.
func trustCluster() *http.Transport {
	authorities := x509.NewCertPool()
	if bundle, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"); err == nil {
		authorities.AppendCertsFromPEM(bundle)
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities}}
}

func resolve(name string) error {
	return retry(func() error {
		found, err := net.LookupHost(name)
		fmt.Println(found)
		return err
	})
}

func say(text string) error {
	_, err := fmt.Println(text)
	return err
}

func write(path string) error {
	return os.WriteFile(path, []byte("written by a pod\n"), 0o644)
}

func read(path string) error {
	content, err := os.ReadFile(path)
	os.Stdout.Write(content)
	return err
}

func sleep(duration string) error {
	parsed, err := time.ParseDuration(duration)
	time.Sleep(parsed)
	return err
}

func retry(attempt func() error) error {
	for end := time.Now().Add(deadline); ; time.Sleep(100 * time.Millisecond) {
		err := attempt()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

func main() {
	if len(os.Args) != 3 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: pod VERB ARGUMENT")
		os.Exit(2)
	}
	if err := verbs[os.Args[1]](os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pod:", err)
		os.Exit(1)
	}
}
