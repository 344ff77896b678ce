//! What `get` and `describe` are asked for: objects of one kind or several, by name or by choice.

use super::{Failure, Kind, Meaning, Need, Session, Targets, names, pods};

/// Objects of one kind.
pub(in crate::cli) struct Wanted {
    pub(in crate::cli) kind: Kind,
    pub(in crate::cli) meaning: Meaning,
}

impl Targets {
    /// Understands `TYPE[,TYPE] [NAME…]`, `TYPE/NAME…`, and what means pods without saying so.
    pub(in crate::cli) fn wanted(&self, session: &Session) -> Result<Vec<Wanted>, Failure> {
        self.refuse_other_kinds(session)?;
        let Some((first, rest)) = self.words.split_first() else { return self.pods(session, &[]) };
        if let Some(kinds) = Kind::parse_list(first) {
            return kinds.into_iter().map(|kind| self.of_kind(session, kind, rest)).collect();
        }
        let mut all: Vec<Wanted> = Vec::new();
        let mut pods = Vec::new();
        for word in &self.words {
            match object(word) {
                None => pods.push(word.clone()),
                Some((kind, _)) => {
                    let wanted = self.of_kind(session, kind, std::slice::from_ref(word))?;
                    merge(&mut all, wanted);
                }
            }
        }
        if all.is_empty() || !pods.is_empty() || !self.files.is_empty() {
            // They come where the first of them was named.
            let before = self.words.iter().position(|word| object(word).is_none()).unwrap_or(0);
            let place = before.min(all.len());
            all.splice(place..place, self.pods(session, &pods)?);
        }
        Ok(all)
    }

    fn pods(&self, session: &Session, words: &[String]) -> Result<Vec<Wanted>, Failure> {
        let targets = Targets { words: words.to_vec(), ..self.clone() };
        Ok(vec![Wanted { kind: Kind::Pod, meaning: targets.meaning(session, Need::Nothing)? }])
    }

    fn of_kind(&self, session: &Session, kind: Kind, words: &[String]) -> Result<Wanted, Failure> {
        if kind == Kind::Pod {
            let words = [&["pods".to_owned()], words].concat();
            let targets = Targets { words, ..self.clone() };
            return Ok(Wanted { kind, meaning: targets.meaning(session, Need::Nothing)? });
        }
        if !self.files.is_empty() {
            return Err(Failure::wrong(
                "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well",
            ));
        }
        if words.is_empty() || self.chooses() {
            if let Some(word) = words.first() {
                let what = kind.resource();
                return Err(Failure::wrong(format!("{word}: give names or a choice of {what}, not both")));
            }
            return Ok(Wanted { kind, meaning: Meaning::Fitting(self.query(kind)?) });
        }
        if self.all_namespaces && kind.is_namespaced() {
            let words = "a resource cannot be retrieved by name across all namespaces";
            return Err(Failure::wrong(words));
        }
        let mut named: Vec<(String, String)> = Vec::new();
        for word in words {
            let name =
                object(word).filter(|(named, _)| *named == kind).map_or(word.as_str(), |(_, name)| name);
            let (namespace, name) = match name.split_once('/') {
                Some(parts) if kind.is_namespaced() => parts,
                _ => (self.namespace.as_str(), name),
            };
            if name.is_empty() || name.contains('/') {
                return Err(Failure::wrong(format!("{word}: this names no {}", kind.singular())));
            }
            let namespace = if kind.is_namespaced() { namespace } else { "" };
            let name = (namespace.to_owned(), name.to_owned());
            if !named.contains(&name) {
                named.push(name);
            }
        }
        Ok(Wanted { kind, meaning: Meaning::Named(named) })
    }

    /// Where was looked for these kinds, for people: empty if in no one namespace.
    pub(in crate::cli) fn looked_in(&self, wanted: &[Wanted]) -> String {
        if self.all_namespaces || wanted.iter().any(|wanted| !wanted.kind.is_namespaced()) {
            return String::new();
        }
        format!(" in {} namespace.", self.namespace)
    }

    /// `get nodes` is a mistake and not a question for a pod called nodes, unless there is one.
    pub(in crate::cli) fn refuse_other_kinds(&self, session: &Session) -> Result<(), Failure> {
        let Some(kind) = self.words.first().map(|word| word.to_ascii_lowercase()) else { return Ok(()) };
        let plain = kind.split(['.', '/', ',']).next().unwrap_or_default();
        let other = if kind.contains(',') {
            kind.split(',').find(|part| Kind::parse_list(part).is_none())
        } else {
            names::OTHER_KINDS.contains(&plain).then_some(kind.as_str())
        };
        let Some(other) = other else { return Ok(()) };
        if pods::find(session, &self.namespace, &kind).is_ok() {
            return Ok(());
        }
        let hint = if matches!(plain, "events" | "event" | "ev") {
            "podbox events [POD] lists events"
        } else {
            "podbox api-resources lists those that there are"
        };
        Err(Failure::wrong(format!("podbox has no resource type \"{other}\"")).hint(hint))
    }
}

/// The kind and the name in `svc/web`; `None` for pods, and for what is no such word.
fn object(word: &str) -> Option<(Kind, &str)> {
    let (kind, name) = word.split_once('/')?;
    Kind::parse(kind).filter(|kind| *kind != Kind::Pod).map(|kind| (kind, name))
}

/// Adds names to those of their kind.
fn merge(all: &mut Vec<Wanted>, wanted: Wanted) {
    let same = all.iter_mut().find(|known| known.kind == wanted.kind);
    match (same.map(|known| &mut known.meaning), wanted.meaning) {
        (Some(Meaning::Named(known)), Meaning::Named(more)) => {
            for name in more {
                if !known.contains(&name) {
                    known.push(name);
                }
            }
        }
        (_, meaning) => all.push(Wanted { meaning, ..wanted }),
    }
}
