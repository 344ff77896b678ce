//! Steps of the recipe taken once more, for a network of which somebody has taken away a part.

use std::iter;

use super::{Plan, Step, World, acts, bridge_steps, enter_step, inside, limit_step, plug_step, pod_steps};
use crate::bridge::Bridge;
use crate::config::Request;
use crate::error::NetError;
use crate::ipam::Lease;
use crate::peers;

/// What helps a cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// A new one.
    Lay,
    /// It is there, and is to be in its bridge, and up.
    Plug,
    /// Its largest packet is to be the bridge's.
    Resize,
}

impl World<'_> {
    /// Makes what all pods share once more, for a largest packet of `mtu` bytes; each step is harmless where it was done
    /// before. Ways to other hosts are made where none are written down. The caller holds the lock alone.
    pub(crate) fn make_bridge_again(&mut self, (mtu, beyond): (u32, peers::Plan)) -> Result<(), NetError> {
        (self.mtu, self.beyond) = (mtu, beyond);
        self.run(bridge_steps(self.config, self.host_ipv6, mtu, &self.beyond))
    }

    /// Mends a cable, for what is leased and on a bridge that is complete. Ports of the host lead to the addresses, whoever has
    /// them. What is half made goes again, so that the next try begins anew; the lease stays.
    pub(crate) fn mend_cable(
        mut self,
        (bridge, lease): (Bridge, Lease),
        how: Remedy,
    ) -> Result<(), NetError> {
        self.bridge = Some(bridge);
        self.lease = Some(lease);
        let (config, request) = (self.config, Request { ports: &[], ..*self.request });
        if how == Remedy::Plug {
            let plan = self.plan();
            return self.run(vec![plug_step(config, &plan)]);
        }
        self.run(vec![enter_step(&request)])?;
        let plan = self.plan();
        let steps = match how {
            Remedy::Resize => {
                iter::once(resize_step(&request, &plan)).chain(limit_step(&request, &plan)).collect()
            }
            Remedy::Lay | Remedy::Plug => pod_steps(config, &request, &plan),
        };
        self.run(steps).inspect_err(|_| self.remove_cable())
    }
}

/// The pod's end first: it must not send what the other one does not take.
fn resize_step(request: &Request<'_>, plan: &Plan) -> Step {
    let own = inside(request, &[format!("ip link set {} mtu {}", request.ifname, plan.mtu)]);
    let command = format!("{own}\nip link set {} mtu {}", plan.host_interface, plan.mtu);
    Step { name: "let the cable carry what the bridge carries", command, act: acts::resize }
}
