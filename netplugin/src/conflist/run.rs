//! Running a chain.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::load::kind;
use super::{ChainError, Record};
use crate::cni::call::UNDOING;
use crate::cni::strays;
use crate::cni::{CallError, Ip, Overseer, Shape, Version};
use crate::config::{Described, Timed};
use crate::state;

/// A finished ADD.
#[derive(Debug, Clone)]
pub struct Added {
    /// The pod's addresses, in the order of the result.
    pub addresses: Vec<IpAddr>,
    /// What was done, in order.
    pub trace: Vec<Timed>,
}

impl Record {
    /// Runs ADD by one plugin after the other. `file` is where this record lies from before the first one starts. If one
    /// fails, those before it are undone, it too, and the record is gone. So it is if the overseer loses patience.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn add(&mut self, file: &Path, overseer: &Overseer) -> Result<Added, ChainError> {
        state::replace(file, self)?;
        match self.negotiate(overseer) {
            Ok(version) => self.version = version.as_str().to_owned(),
            Err(error) => {
                // Nothing has been begun.
                state::remove_file(file)?;
                return Err(error);
            }
        }
        state::replace(file, self)?;
        match self.try_add(overseer) {
            Ok(added) => {
                state::replace(file, self)?;
                Ok(added)
            }
            Err((reached, error)) => {
                // What cannot be undone stays written down, for the next try.
                if self.undo(reached, overseer).is_empty() {
                    state::remove_file(file)?;
                }
                Err(error)
            }
        }
    }

    fn try_add(&mut self, overseer: &Overseer) -> Result<Added, (usize, ChainError)> {
        let mut trace = Vec::new();
        for index in 0..self.chain.plugins.len() {
            let start = Instant::now();
            let answer = self.call(overseer, "ADD", index).map_err(|error| (index, error))?;
            let described = self.described("ADD", index);
            self.result = Some(answer);
            let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            trace.push(Timed { name: described.name, command: described.command, micros });
        }
        match self.addresses() {
            Ok(addresses) => Ok(Added { addresses, trace }),
            Err(problem) => {
                let error = ChainError::Result { network: self.chain.name.clone(), problem };
                Err((self.chain.plugins.len() - 1, error))
            }
        }
    }

    /// Those of the pod's own interface: a chain may tell of others'.
    fn addresses(&self) -> Result<Vec<IpAddr>, String> {
        let result = self.result.as_ref().unwrap_or(&Value::Null);
        let shape = Shape::read(result).map_err(|error| error.to_string())?;
        let is_ours = |index: Option<usize>| match index.and_then(|index| shape.interfaces.get(index)) {
            Some(interface) => !interface.sandbox.is_empty() && interface.name == self.ifname,
            None => true,
        };
        let ours = shape.ips.iter().filter(|ip| is_ours(ip.interface));
        let addresses: Option<Vec<_>> = ours.map(Ip::bare).collect();
        let addresses = addresses.ok_or_else(|| format!("an address makes no sense in {result}"))?;
        if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
    }

    /// Kills what still runs of this chain's plugins for this pod, because whoever called them was killed. What is done
    /// next would meet it.
    ///
    /// # Errors
    /// If something of it does not end.
    pub fn end_strays(&self) -> Result<(), ChainError> {
        let failed = |source| ChainError::Stray { network: self.chain.name.clone(), source };
        strays::end(&self.container).map_err(failed)
    }

    /// Runs DEL by all plugins, the last one first. One that fails does not keep the others from it.
    pub fn delete(&self, overseer: &Overseer) -> Vec<ChainError> {
        self.undo(self.chain.plugins.len() - 1, overseer)
    }

    fn undo(&self, reached: usize, overseer: &Overseer) -> Vec<ChainError> {
        (0..=reached).rev().filter_map(|index| self.call(overseer, "DEL", index).err()).collect()
    }

    /// Runs CHECK by all plugins, if the chain's version has it.
    ///
    /// # Errors
    /// The first one's that is not content.
    pub fn check(&self, overseer: &Overseer) -> Result<(), ChainError> {
        if self.chain.disable_check || !Version::of(&self.version).is_some_and(Version::has_check) {
            return Ok(());
        }
        (0..self.chain.plugins.len()).try_for_each(|index| self.call(overseer, "CHECK", index).map(|_| ()))
    }

    /// ADD as commands that a reader could type. Touches nothing and asks nobody.
    #[must_use]
    pub fn describe(&self) -> Vec<Described> {
        (0..self.chain.plugins.len()).map(|index| self.described("ADD", index)).collect()
    }

    /// The newest version of those in the file that every plugin speaks.
    fn negotiate(&self, overseer: &Overseer) -> Result<Version, ChainError> {
        let fault = |plugin, speaks| ChainError::Version {
            network: self.chain.name.clone(),
            asked: self.chain.versions.clone(),
            plugin,
            speaks,
        };
        let mut wanted = self.known_versions();
        if wanted.is_empty() {
            return Err(fault(None, Version::ALL.to_vec()));
        }
        for plugin in &self.chain.plugins {
            let kind = kind(plugin);
            overseer.begins(self.what("VERSION", kind));
            let answer = self.caller.versions(overseer, kind, &self.container);
            overseer.ends();
            let speaks = answer.map_err(|source| self.fault("VERSION", source))?;
            wanted.retain(|version| speaks.contains(version));
            if wanted.is_empty() {
                return Err(fault(Some(kind.to_owned()), speaks));
            }
        }
        Ok(wanted.into_iter().max().unwrap_or(Version::NEWEST))
    }

    /// The versions of the file that are known here.
    fn known_versions(&self) -> Vec<Version> {
        self.chain.versions.iter().filter_map(|version| Version::of(version)).collect()
    }

    fn call(&self, overseer: &Overseer, command: &'static str, index: usize) -> Result<Value, ChainError> {
        let input = Value::Object(self.input(command, index));
        let parameters = self.parameters(command);
        let kind = kind(&self.chain.plugins[index]);
        // What takes back is wanted all the more.
        let takes_back = command == "DEL";
        let grace = if takes_back { UNDOING } else { Duration::ZERO };
        if let Some(after) = overseer.has_given_up(index).filter(|_| takes_back) {
            let program = self.caller.find(kind).map_err(|source| self.fault(command, source))?;
            return Err(self.fault(command, CallError::Hurried { program, after, grace }));
        }
        overseer.begins(self.what(command, kind));
        let answer = self.caller.call_under((overseer, grace), kind, &parameters, &input);
        overseer.ends();
        if let Err(CallError::Hurried { after, .. }) = &answer
            && takes_back
        {
            overseer.gives_up(index, *after);
        }
        answer.map_err(|source| self.fault(command, source))
    }

    fn what(&self, command: &str, plugin: &str) -> String {
        format!("CNI {command} of {} by the plugin {plugin}", self.chain.name)
    }

    fn fault(&self, command: &'static str, source: CallError) -> ChainError {
        ChainError::Plugin { command, network: self.chain.name.clone(), source }
    }

    /// A plugin's configuration, with what the runtime adds: section 3, "Deriving the execution configuration".
    fn input(&self, command: &str, index: usize) -> Map<String, Value> {
        let mut input = self.chain.plugins[index].clone();
        input.insert("name".to_owned(), self.chain.name.clone().into());
        input.insert("cniVersion".to_owned(), self.spoken().into());
        let declared = input.get("capabilities").and_then(Value::as_object);
        let is_declared = |name: &str| declared.is_some_and(|all| all.get(name) == Some(&Value::Bool(true)));
        let given: Map<String, Value> = self
            .capabilities
            .iter()
            .filter(|(name, _)| is_declared(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !given.is_empty() {
            input.insert("runtimeConfig".to_owned(), given.into());
        }
        // DEL is given the result since 0.4.0.
        let may_have = command == "ADD" || Version::of(&self.version).is_some_and(Version::has_check);
        if let Some(result) = self.result.as_ref().filter(|_| may_have) {
            input.insert("prevResult".to_owned(), result.clone());
        }
        input
    }

    /// The version that was agreed on; until plugins were asked, the newest that they are asked for.
    fn spoken(&self) -> &str {
        let newest = || self.known_versions().into_iter().max().map(Version::as_str);
        match self.version.as_str() {
            "" => newest().unwrap_or_default(),
            agreed => agreed,
        }
    }

    fn parameters(&self, command: &str) -> Vec<(&'static str, String)> {
        // A namespace that is gone is said to be gone: a plugin would fail over a file that is not one.
        let netns = if command == "DEL" && !self.netns.exists() {
            String::new()
        } else {
            self.netns.display().to_string()
        };
        let args: Vec<_> = self.args.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let path = std::env::join_paths(&self.caller.directories).unwrap_or_default();
        vec![
            ("CNI_COMMAND", command.to_owned()),
            ("CNI_CONTAINERID", self.container.clone()),
            ("CNI_NETNS", netns),
            ("CNI_IFNAME", self.ifname.clone()),
            ("CNI_ARGS", args.join(";")),
            ("CNI_PATH", path.to_string_lossy().into_owned()),
        ]
    }

    fn described(&self, command: &str, index: usize) -> Described {
        let kind = kind(&self.chain.plugins[index]);
        let program =
            self.caller.find(kind).map_or_else(|_| kind.to_owned(), |path| path.display().to_string());
        let parameters = self.parameters(command);
        let words: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}='{value}'")).collect();
        let input = Value::Object(self.input(command, index));
        Described {
            name: format!("{command} by the plugin {kind} of {}", self.chain.name),
            command: format!("{} {program} <<'END'\n{input}\nEND", words.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests;
