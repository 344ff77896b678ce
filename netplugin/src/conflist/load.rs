//! Finding a chain: the files of a directory in the order of their names, `.conflist` with a list of plugins, `.conf`
//! and `.json` with one, as libcni has it. Of two files with one name of a network the first counts.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{Chain, ChainError};

/// The chain of that name.
///
/// # Errors
/// [`ChainError::NotFound`] tells the names that are there, and which files are broken.
pub fn find(directory: &Path, name: &str) -> Result<Chain, ChainError> {
    let mut present = Vec::new();
    let mut broken = Vec::new();
    for path in files(directory)? {
        match read(&path) {
            Ok(chain) if chain.name == name => return Ok(chain),
            Ok(chain) if present.contains(&chain.name) => {}
            Ok(chain) => present.push(chain.name),
            Err(error) => broken.push(error.to_string()),
        }
    }
    Err(ChainError::NotFound { name: name.to_owned(), directory: directory.to_owned(), present, broken })
}

/// The names of all chains that can be understood, in the order of their files.
///
/// # Errors
/// If the directory cannot be read; one that is not there has none.
pub fn list(directory: &Path) -> Result<Vec<String>, ChainError> {
    Ok(files(directory)?.iter().filter_map(|path| Some(read(path).ok()?.name)).collect())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, ChainError> {
    let failed = |source| ChainError::Read { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("conflist" | "conf" | "json")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Chain, ChainError> {
    let text =
        fs::read_to_string(path).map_err(|source| ChainError::Read { path: path.to_owned(), source })?;
    parse(&text, path).map_err(|problem| ChainError::Parse { path: path.to_owned(), problem })
}

/// Understands a file's content.
fn parse(text: &str, path: &Path) -> Result<Chain, String> {
    let whole: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let Value::Object(whole) = whole else { return Err("it is no object".to_owned()) };
    let name = whole.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err("name is missing".to_owned());
    }
    let versions = versions(&whole)?;
    let disable_check = match whole.get("disableCheck") {
        // libcni takes the text as well.
        Some(Value::Bool(true)) => true,
        Some(Value::String(text)) => text == "true",
        _ => false,
    };
    let plugins = match whole.get("plugins") {
        Some(Value::Array(list)) => {
            let plugin =
                |value: &Value| value.as_object().cloned().ok_or("plugins holds something that is no object");
            list.iter().map(plugin).collect::<Result<Vec<_>, _>>()?
        }
        Some(_) => return Err("plugins is no list".to_owned()),
        None if path.extension().is_some_and(|extension| extension == "conflist") => {
            return Err("plugins is missing".to_owned());
        }
        None => vec![whole],
    };
    if plugins.is_empty() {
        return Err("plugins is empty".to_owned());
    }
    if let Some(at) = plugins.iter().position(|plugin| kind(plugin).is_empty()) {
        return Err(format!("plugins[{at}] has no type"));
    }
    Ok(Chain { name, versions, disable_check, plugins, source: path.to_owned() })
}

fn versions(whole: &Map<String, Value>) -> Result<Vec<String>, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or("a cniVersion is no text".to_owned());
    let one = whole.get("cniVersion").map(text).transpose()?;
    let listed = whole.get("cniVersions").and_then(Value::as_array).into_iter().flatten().map(text);
    let mut all: Vec<String> = one.into_iter().collect();
    for version in listed.collect::<Result<Vec<_>, _>>()? {
        if !all.contains(&version) {
            all.push(version);
        }
    }
    if all.is_empty() {
        all.push(String::new());
    }
    Ok(all)
}

/// A plugin's type: the name of its program.
pub(super) fn kind(plugin: &Map<String, Value>) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    #[test]
    fn of_two_files_with_one_name_the_first_counts() {
        let files = directory(&[
            ("20-b.conflist", r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"second"}]}"#),
            ("10-a.conf", r#"{"cniVersion":"0.4.0","name":"net","type":"first"}"#),
            ("05-readme.txt", "no chain at all"),
        ]);
        let chain = find(files.path(), "net").unwrap();
        assert_eq!(kind(&chain.plugins[0]), "first");
        assert_eq!(chain.versions, ["0.4.0"]);
    }

    #[test]
    fn a_name_that_is_not_there_lists_those_that_are_and_what_is_broken() {
        let files = directory(&[
            ("1.conflist", r#"{"name":"one","plugins":[{"type":"x"}]}"#),
            ("2.json", r#"{"name":"two","type":"x"}"#),
            ("3.conflist", r#"{"name":"three"}"#),
            ("4.conf", "{\n  oops"),
        ]);
        let error = find(files.path(), "net").unwrap_err().to_string();
        for part in
            ["\"net\"", "has one, two", "3.conflist: plugins is missing", "4.conf: ", "line 2 column 3"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(list(files.path()).unwrap(), ["one", "two"]);
        let error = find(Path::new("/no/such/directory"), "net").unwrap_err().to_string();
        assert!(error.contains("there is none in /no/such/directory"), "{error}");
    }

    #[test]
    fn a_file_that_is_wrong_is_told_how() {
        for (text, problem) in [
            ("[]", "it is no object"),
            (r#"{"plugins":[]}"#, "name is missing"),
            (r#"{"name":"n","plugins":[]}"#, "plugins is empty"),
            (r#"{"name":"n","plugins":{}}"#, "plugins is no list"),
            (r#"{"name":"n","plugins":[{"type":"a"},{}]}"#, "plugins[1] has no type"),
            (r#"{"name":"n","cniVersion":1,"plugins":[{"type":"a"}]}"#, "a cniVersion is no text"),
        ] {
            assert_eq!(parse(text, Path::new("x.conflist")).unwrap_err(), problem);
        }
    }
}
