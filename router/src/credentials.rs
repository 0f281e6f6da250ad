//! Secrets of which targets want to know: files that the kubelet brings, and changes.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;

use crate::dialer::roots;

/// For so long what was read counts, should nobody tell that the folder has changed.
const AGE: Duration = Duration::from_secs(5);

/// Bytes of a file at most: no Secret and no ConfigMap has more.
const SIZE: usize = 1 << 20;

/// A file that a target wants.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// The value of a header, but for what stands before it.
    Header { path: &'a Path, prefix: &'a str },
    /// The certificates of those who may vouch for it.
    Authorities { path: &'a Path },
}

/// The files below a folder.
#[derive(Debug)]
pub struct Credentials {
    folder: PathBuf,
    known: Mutex<HashMap<PathBuf, (Instant, HeaderValue)>>,
}

impl Credentials {
    /// Those below a folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, known: Mutex::default() }
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives one as the value of a header.
    ///
    /// # Errors
    /// It cannot be read, or is no value of a header; the text does not have it.
    pub fn value(&self, path: &Path, prefix: &str) -> Result<HeaderValue, String> {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, value)) = known.get(path)
            && now.duration_since(*read) < AGE
        {
            return Ok(value.clone());
        }
        // A few bytes in memory, read once in some seconds: this does not hold up anybody.
        let value = self.header(path, prefix).map_err(|words| format!("credential {}: {words}", path.display()))?;
        known.insert(path.to_owned(), (now, value.clone()));
        Ok(value)
    }

    /// Looks at files anew, and tells of those that cannot be used why.
    pub fn unusable<'a>(&self, wanted: impl Iterator<Item = Wanted<'a>>) -> BTreeMap<String, String> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let wrong = wanted.filter_map(|wanted| match wanted {
            Wanted::Header { path, prefix } => Some((path, self.header(path, prefix).err()?)),
            Wanted::Authorities { path } => Some((path, self.read(path).and_then(|pem| roots(&pem)).err()?)),
        });
        wrong.map(|(path, words)| (path.display().to_string(), words)).collect()
    }

    fn header(&self, path: &Path, prefix: &str) -> Result<HeaderValue, String> {
        let bytes = self.read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim();
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        let mut value = HeaderValue::try_from(format!("{prefix}{text}"))
            .map_err(|_| "it is no value of a header: it has more than one line, or is not text".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Gives what a file holds.
    ///
    /// # Errors
    /// It cannot be read, or is too large.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let bytes = std::fs::read(self.folder.join(path)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => "it is not there".to_owned(),
            _ => error.to_string(),
        })?;
        if bytes.len() > SIZE {
            return Err(format!("it has {} bytes, and no more than {SIZE} are read", bytes.len()));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_told_and_what_changes_is_taken() {
        let folder = std::env::temp_dir().join(format!("rondo-credentials-{}", std::process::id()));
        let write = |path: &str, text: &[u8]| {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().expect("below it")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        write("vendor/token", b"abc\n");
        write("vendor/lines", b"a\nb");
        write("vendor/blank", b" \n");
        write("vendor/large", &vec![b'a'; SIZE + 1]);
        write("ConfigMap/corporation/ca.crt", b"no certificate");
        let credentials = Credentials::new(folder.clone());
        let value = |key: &str| credentials.value(Path::new(key), "Bearer ");
        assert_eq!(value("vendor/token").expect("read"), "Bearer abc");
        let headers = ["vendor/token", "vendor/lines", "vendor/blank", "vendor/large", "other/token"];
        let headers = headers.map(|path| Wanted::Header { path: Path::new(path), prefix: "" });
        let authorities = Wanted::Authorities { path: Path::new("ConfigMap/corporation/ca.crt") };
        let unusable = credentials.unusable(headers.into_iter().chain([authorities]));
        let told: Vec<_> = unusable.iter().map(|(name, words)| (name.as_str(), words.as_str())).collect();
        let expected = [
            ("ConfigMap/corporation/ca.crt", "it has no certificate in PEM"),
            ("other/token", "it is not there"),
            ("vendor/blank", "it is empty"),
            ("vendor/large", "it has 1048577 bytes, and no more than 1048576 are read"),
            ("vendor/lines", "it is no value of a header: it has more than one line, or is not text"),
        ];
        assert_eq!(told, expected);
        assert_eq!(value("other/token").expect_err("not there"), "credential other/token: it is not there");
        write("vendor/token", b"def");
        assert_eq!(value("vendor/token").expect("known"), "Bearer def", "it was not read since `unusable`");
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
