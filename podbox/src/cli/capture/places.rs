//! The interfaces of a network namespace that packets are taken from.

use std::path::PathBuf;

use netplugin::Interface;

use crate::capture::pcapng::can_write;

use super::super::Failure;

/// An interface and what a file says of it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) interface: Interface,
    /// `eth0 of pod default/web`.
    pub(super) description: String,
}

/// All that packets may come from.
#[derive(Debug)]
pub(super) struct Places {
    pod: String,
    netns: Option<PathBuf>,
    all: Vec<Place>,
    only: Option<u32>,
}

impl Places {
    /// One interface of the pod, or `any`; eth0 if none is asked for.
    pub(super) fn of(pod: &str, netns: Option<PathBuf>, asked: Option<&str>) -> Result<Places, Failure> {
        let mut places = Places { pod: pod.to_owned(), netns, all: Vec::new(), only: None };
        places.look()?;
        let name = asked.unwrap_or("eth0");
        if name == "any" {
            return Ok(places);
        }
        let Some(place) = places.all.iter().find(|place| place.interface.name == name) else {
            let names: Vec<&str> = places.all.iter().map(|place| &*place.interface.name).collect();
            return Err(Failure::wrong(format!("pod {pod} has no interface {name}"))
                .hint(format!("its interfaces are {}, and any stands for all", names.join(", "))));
        };
        if !can_write(place.interface.hardware) {
            return Err(Failure::wrong(format!(
                "packets of interface {name} are of a kind that podbox cannot read"
            )));
        }
        places.only = Some(place.interface.index);
        Ok(places)
    }

    /// The number of the one interface; none if all are wanted.
    pub(super) fn only(&self) -> Option<u32> {
        self.only
    }

    /// What is captured, for people.
    pub(super) fn shown(&self) -> String {
        let only = self.all.iter().find(|place| Some(place.interface.index) == self.only);
        only.map_or_else(|| "all interfaces".to_owned(), |place| place.interface.name.clone())
    }

    /// The interface of that number, which may have come meanwhile; none if it has gone already, or if its packets are of
    /// a kind that nobody here can read.
    pub(super) fn find(&mut self, index: u32) -> Option<&Place> {
        if !self.all.iter().any(|place| place.interface.index == index) {
            self.look().ok()?;
        }
        let found = self.all.iter().find(|place| place.interface.index == index)?;
        can_write(found.interface.hardware).then_some(found)
    }

    fn look(&mut self) -> Result<(), Failure> {
        let found = netplugin::interfaces(self.netns.as_deref()).map_err(|error| Failure::host(&error))?;
        let describe = |interface: Interface| {
            let description = format!("{} of pod {}", interface.name, self.pod);
            Place { interface, description }
        };
        self.all = found.into_iter().map(describe).collect();
        Ok(())
    }
}
