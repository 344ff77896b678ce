//! Files of CDI, in JSON or YAML.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::spec::File;
use crate::manifest::yaml_values;

/// No file of devices is larger, bytes.
const LARGEST: u64 = 1 << 20;

/// The files of a directory, sorted; none if it is not there.
pub(super) fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json" || ending == "yaml"))
        .collect();
    files.sort();
    files
}

/// One file.
pub(super) fn file(path: &Path) -> Result<File, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > LARGEST {
        return Err(format!("it has more than {LARGEST} bytes"));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let value = match path.extension() {
        Some(ending) if ending == "json" => serde_json::from_str(&text).map_err(|error| error.to_string())?,
        _ => yaml_values(&text)?.into_iter().next().unwrap_or(Value::Object(Map::new())),
    };
    serde_json::from_value::<File>(value).map_err(|error| error.to_string())?.check()
}
