"""A real single-node Kubernetes for machines without a container engine, used by the tests and the demo.

The command line (`cli`, `kind`) and the tests call `cluster`, which drives everything below it: `toolchain` builds the
programs, `components` and `documents` say in pure functions how each is configured and started, `processes`, `network`,
`runtime` and `certificates` touch the machine. Only the standard library is imported, since the package runs
before any virtual environment exists.
"""
