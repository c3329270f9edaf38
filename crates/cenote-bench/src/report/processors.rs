//! What was measured on other processors: `docs/performance` has the newest page of each, and its
//! aims, so that the page of one run shows them beside its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::aims::Aim;

/// The aims of a run on some processor, as they were judged there.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Processor {
    pub(crate) processor: String,
    /// When its first group was measured.
    pub(crate) when: String,
    pub(crate) aims: Vec<Judged>,
}

/// One aim there.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Judged {
    pub(crate) figure: String,
    pub(crate) measured: String,
    pub(crate) reached: Option<bool>,
}

impl Processor {
    pub(crate) fn new(processor: &str, when: &str, aims: &[Aim]) -> Self {
        let judged = |aim: &Aim| Judged {
            figure: aim.figure.clone(),
            measured: aim.measured.clone(),
            reached: aim.reached,
        };
        Self {
            processor: processor.into(),
            when: when.into(),
            aims: aims.iter().map(judged).collect(),
        }
    }

    /// What an aim came to there.
    pub(crate) fn told(&self, figure: &str) -> String {
        let Some(aim) = self.aims.iter().find(|aim| aim.figure == figure) else {
            return String::new();
        };
        let reached = match aim.reached {
            Some(true) => "",
            Some(false) => ", **no**",
            None => return String::new(),
        };
        format!("{}{reached}", aim.measured)
    }

    /// The name of its files.
    pub(crate) fn file(&self) -> String {
        let simple = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = self.processor.chars().map(simple).collect();
        name.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
    }

    /// Keeps it, and the page that it is from.
    pub(crate) fn write(&self, docs: &Path, page: &str) -> Result<()> {
        let folder = folder(docs);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let json = serde_json::to_string_pretty(self)? + "\n";
        for (end, text) in [("json", json.as_str()), ("md", page)] {
            let file = folder.join(format!("{}.{end}", self.file()));
            std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        }
        Ok(())
    }
}

fn folder(docs: &Path) -> PathBuf {
    docs.join("performance")
}

/// Those of all processors but this one, by their names.
pub(crate) fn others(docs: &Path, this: &str) -> Vec<Processor> {
    let entries = std::fs::read_dir(folder(docs)).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    let mut others: Vec<Processor> = files
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .filter_map(|path| serde_json::from_slice(&std::fs::read(path).ok()?).ok())
        .filter(|one: &Processor| one.processor != this)
        .collect();
    others.sort_by(|one, other| one.processor.cmp(&other.processor));
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_processors_aims_are_read_again_and_ones_own_are_not() {
        let docs = std::env::temp_dir().join(format!("cenote-bench-docs-{}", std::process::id()));
        let aim = Aim {
            figure: "request".into(),
            wanted: "at least 2".into(),
            measured: "1.50 ±0.01".into(),
            reached: Some(false),
            close: false,
        };
        let one = Processor::new("Some(R) Processor 9", "today", &[aim]);
        assert_eq!(one.file(), "some-r-processor-9");
        one.write(&docs, "page").unwrap();
        let others = others(&docs, "another");
        assert_eq!((others.len(), others[0].told("request").as_str()), (1, "1.50 ±0.01, **no**"));
        assert_eq!(others[0].told("what was not judged"), "");
        assert!(super::others(&docs, "Some(R) Processor 9").is_empty());
        std::fs::remove_dir_all(docs).unwrap();
    }
}
