//! How `podbox get` shows objects: kubectl's formats, and its flags that change them.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::output::table::{Table, Widths};
use crate::output::{self, Columns, Format, items, objects, pods};

use super::targets::Targets;
use super::{Failure, completion};

/// The arguments that say how.
#[derive(Clone, Debug, Args)]
pub(super) struct Look {
    /// wide, json, yaml, name, jsonpath=TEMPLATE, jsonpath-as-json=TEMPLATE, custom-columns=SPEC
    #[arg(long, short, default_value = "", hide_default_value = true, value_name = "FORMAT", add = completion::format())]
    output: String,
    /// No column heads
    #[arg(long)]
    no_headers: bool,
    /// All labels as the last column
    #[arg(long)]
    show_labels: bool,
    /// These labels as columns: app,tier
    #[arg(long, short = 'L', value_delimiter = ',', value_name = "LABEL")]
    label_columns: Vec<String>,
    /// The kind before each name, as with several kinds: pod/web
    #[arg(long)]
    show_kind: bool,
    /// With -w: what happened to the object, as ADDED, MODIFIED or DELETED
    #[arg(long)]
    output_watch_events: bool,
}

/// What has happened to an object, in the words of a watch of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    Added,
    Modified,
    Deleted,
}

impl Happened {
    fn word(self) -> &'static str {
        match self {
            Happened::Added => "ADDED",
            Happened::Modified => "MODIFIED",
            Happened::Deleted => "DELETED",
        }
    }
}

/// Where objects are shown, one after the other or all at once.
pub(super) struct Screen<'a> {
    pub(super) format: Format,
    look: &'a Look,
    with_namespace: bool,
    with_kind: bool,
    widths: Widths,
    /// Whether something has been shown, and so the heads too.
    begun: bool,
}

impl<'a> Screen<'a> {
    /// A screen for objects of one kind, or of several.
    pub(super) fn new(look: &'a Look, targets: &Targets, several: bool) -> Result<Screen<'a>, Failure> {
        let format = Format::parse(&look.output).map_err(|error| Failure::request(&error))?;
        let with_namespace = targets.all_namespaces;
        let with_kind = several || look.show_kind;
        Ok(Screen { format, look, with_namespace, with_kind, widths: Widths::default(), begun: false })
    }

    /// The text of an object or a List.
    pub(super) fn all(&mut self, list: &Value) -> Result<String, Failure> {
        if self.is_table() {
            return Ok(self.tables(&items(list)));
        }
        let text = self.formatted(list)?;
        Ok(if self.look.no_headers { self.without_heads(text) } else { text })
    }

    /// The text of one change.
    pub(super) fn one(&mut self, happened: Happened, object: &Value) -> Result<String, Failure> {
        let happened = self.look.output_watch_events.then_some(happened);
        let text = if self.is_table() {
            self.table(&[object], happened)
        } else {
            let wrapped = happened.map(|word| json!({"type": word.word(), "object": object}));
            let text = self.formatted(wrapped.as_ref().unwrap_or(object))?;
            match self.format {
                Format::Yaml if self.begun => format!("---\n{text}"),
                _ if self.begun || self.look.no_headers => self.without_heads(text),
                _ => text,
            }
        };
        self.begun = true;
        Ok(text)
    }

    fn is_table(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    fn formatted(&self, value: &Value) -> Result<String, Failure> {
        let no_rows = |_: &Value| Vec::new();
        let columns = Columns { heads: &[], wide: &[], row: &no_rows };
        output::print(&self.format, value, &columns).map_err(|error| Failure::request(&error))
    }

    /// Only custom columns have heads here.
    fn without_heads(&self, text: String) -> String {
        match self.format {
            Format::CustomColumns(_) => {
                text.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned())
            }
            _ => text,
        }
    }

    /// A table for each row of objects of one kind, with an empty line between where tables have heads.
    fn tables(&mut self, objects: &[&Value]) -> String {
        let gap = if self.look.no_headers { "" } else { "\n" };
        let groups = objects.chunk_by(|one, next| one["kind"] == next["kind"]);
        let mut texts = Vec::new();
        for group in groups {
            self.widths = Widths::default();
            texts.push(self.table(group, None));
        }
        texts.join(gap)
    }

    /// A table of objects of one kind.
    fn table(&mut self, objects: &[&Value], happened: Option<Happened>) -> String {
        let kind = objects.first().and_then(|object| object["kind"].as_str()).unwrap_or("Pod");
        let columns = objects::columns(kind);
        let mut table = Table::new(self.heads(&columns, happened));
        if self.begun || self.look.no_headers {
            table = table.without_heads();
        }
        let now = Timestamp::now();
        for object in objects {
            table.push_as_is(self.row(&columns, object, happened, now));
        }
        table.aligned(&mut self.widths)
    }

    fn heads(&self, columns: &objects::Columns, happened: Option<Happened>) -> Vec<String> {
        let wide = if self.format == Format::Wide { columns.wide } else { &[] };
        let lead = happened.map(|_| "EVENT").into_iter().chain(self.with_namespace.then_some("NAMESPACE"));
        let heads = lead.chain(columns.heads.iter().chain(wide).copied()).map(str::to_owned);
        // kubectl shows the last part of a label's key, in capitals.
        let head = |key: &String| key.rsplit('/').next().unwrap_or(key).to_uppercase();
        let labels = self.look.label_columns.iter().map(head);
        heads.chain(labels).chain(self.look.show_labels.then(|| "LABELS".to_owned())).collect()
    }

    fn row(
        &self,
        columns: &objects::Columns,
        object: &Value,
        happened: Option<Happened>,
        now: Timestamp,
    ) -> Vec<String> {
        let mut cells = (columns.row)(object, now);
        if self.format != Format::Wide {
            cells.truncate(columns.heads.len());
        }
        if let (true, Some(name)) = (self.with_kind, cells.first_mut()) {
            *name = output::name(object);
        }
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let lead = happened.map(Happened::word).into_iter().chain(self.with_namespace.then_some(namespace));
        let label = |key: &String| object["metadata"]["labels"][key].as_str().unwrap_or("<none>").to_owned();
        let labels = self.look.label_columns.iter().map(label);
        let all = self.look.show_labels.then(|| pods::labels(object));
        lead.map(str::to_owned).chain(cells).chain(labels).chain(all).collect()
    }
}
