//! Limits of bandwidth: a token bucket (tc-tbf(8)) at each end of the pod's cable, since a queue only delays what
//! leaves an interface. What goes into the pod leaves the end on the host; what the pod sends leaves its own end. So
//! neither needs a further device, and both go with the cable.

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption};

use crate::links::Message;
use crate::wishes::Rate;

// linux/pkt_sched.h
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
/// With another link layer the kernel would want a table of how long packets of each size take.
const TC_LINKLAYER_ETHERNET: u8 = 1;

/// `tc qdisc replace dev … root tbf …`
pub(crate) fn limit(index: u32, rate: Rate, mtu: u32) -> Message {
    let mut message = TcMessage::default();
    message.header.index = index.cast_signed();
    message.header.handle = TcHandle { major: 1, minor: 0 };
    message.header.parent = TcHandle::ROOT;
    let option = |kind, value: Vec<u8>| TcOption::Other(DefaultNla::new(kind, value));
    message.attributes.push(TcAttribute::Kind("tbf".to_owned()));
    message.attributes.push(TcAttribute::Options(vec![
        option(TCA_TBF_PARMS, parameters(rate, mtu)),
        option(TCA_TBF_RATE64, rate.bytes_per_second().to_ne_bytes().to_vec()),
        option(TCA_TBF_BURST, rate.burst(mtu).to_ne_bytes().to_vec()),
    ]));
    (RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// `struct tc_tbf_qopt`: the rate (`struct tc_ratespec`), no peak rate, the queue's limit, and two fields that
/// `TCA_TBF_BURST` takes the place of.
fn parameters(rate: Rate, mtu: u32) -> Vec<u8> {
    let bytes = u32::try_from(rate.bytes_per_second()).unwrap_or(u32::MAX);
    let mut qopt = Vec::with_capacity(36);
    qopt.extend([0, TC_LINKLAYER_ETHERNET]);
    qopt.extend([0; 6]);
    qopt.extend(bytes.to_ne_bytes());
    qopt.extend([0; 12]);
    qopt.extend(rate.queue(mtu).to_ne_bytes());
    qopt.extend([0; 8]);
    qopt
}

/// The command that means the same.
pub(crate) fn command(interface: &str, rate: Rate, mtu: u32) -> String {
    format!(
        "tc qdisc replace dev {interface} handle 1: root tbf rate {rate} burst {} limit {}",
        rate.burst(mtu),
        rate.queue(mtu)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_are_as_long_as_the_kernels_structure_and_hold_rate_and_limit_where_it_looks_for_them() {
        let rate = Rate { bits_per_second: 8_000_000, burst: None };
        let qopt = parameters(rate, 1500);
        assert_eq!(qopt.len(), 36);
        assert_eq!(qopt[8..12], 1_000_000u32.to_ne_bytes());
        // 25 ms and a burst of 20 ms.
        assert_eq!(qopt[24..28], 45_000u32.to_ne_bytes());
    }

    #[test]
    fn a_burst_has_room_for_packets_of_any_size_and_an_enormous_rate_fits_its_field() {
        let slow = Rate { bits_per_second: 1000, burst: Some(1) };
        assert_eq!(slow.burst(9000), 18_000);
        let fast = Rate { bits_per_second: u64::MAX, burst: None };
        assert_eq!(parameters(fast, 1500)[8..12], u32::MAX.to_ne_bytes());
    }
}
