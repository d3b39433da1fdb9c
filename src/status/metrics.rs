//! `/metrics`: the table as `OpenMetrics` text, with the names of the contract (section 4).
//!
//! Written anew for each request from the one table: a section that is gone leaves no series behind, one that is there
//! has all of its series from the start. Labels are section names and words of ours, never accounts or file names.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::{Record, Status, Table, Tunnel};

/// The media type of `OpenMetrics` 1.0.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Status {
    /// The text of `/metrics`.
    pub fn metrics(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        // into a string nothing fails
        let _ = text::encode(&mut text, &registry);
        text
    }
}

impl Collector for Status {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let table = self.lock();
        let help = "1 while the configuration on disk is the one in force as far as known, 0 after a refused reload";
        let ok = ConstGauge::new(i64::from(!table.refused));
        ok.encode(encoder.encode_descriptor("pertuis_config_ok", help, None, MetricType::Gauge)?)?;
        tunnels(&table, &mut encoder)?;
        launchers(&table, &mut encoder)
    }
}

/// A family of metrics with one or two labels.
type Family<'a> = MetricEncoder<'a>;

fn tunnels(table: &Table, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let mut each =
        |name: &str, help: &str, kind, write: &dyn Fn(&mut Family<'_>, &str, &Tunnel) -> Result<(), Error>| {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            table.tunnels.iter().try_for_each(|(name, tunnel)| write(&mut family, name.as_str(), tunnel))
        };
    each("pertuis_tunnel_connections", "connections accepted", MetricType::Counter, &|family, name, tunnel| {
        one(family, [("service", name)], &tunnel.meter.connections)
    })?;
    each(
        "pertuis_tunnel_connections_open",
        "connections that are open",
        MetricType::Gauge,
        &|family, name, tunnel| one(family, [("service", name)], &tunnel.meter.open),
    )?;
    each("pertuis_tunnel_bytes", "bytes relayed", MetricType::Counter, &|family, name, tunnel| {
        one(family, [("service", name), ("direction", "to_tls")], &tunnel.meter.to_tls)?;
        one(family, [("service", name), ("direction", "to_socket")], &tunnel.meter.to_socket)
    })?;
    let help = "duration of successful TLS handshakes";
    each("pertuis_tunnel_handshake_seconds", help, MetricType::Histogram, &|family, name, tunnel| {
        one(family, [("service", name)], &tunnel.meter.handshake)
    })?;
    let help = "connections, handshakes and attempts to listen that failed";
    each("pertuis_tunnel_failures", help, MetricType::Counter, &|family, name, tunnel| {
        let mut failures = tunnel.meter.failures.iter();
        failures.try_for_each(|(reason, count)| one(family, [("service", name), ("reason", reason)], count))
    })?;
    let help = "when a certificate ends: our own, and the one seen last at the other end";
    each("pertuis_certificate_expiry_timestamp_seconds", help, MetricType::Gauge, &|family, name, tunnel| {
        let ends = [("own", tunnel.meter.own_expiry()), ("peer", tunnel.meter.peer_expiry())];
        let mut known = ends.into_iter().filter_map(|(role, end)| Some((role, end?)));
        known.try_for_each(|(role, end)| one(family, [("service", name), ("role", role)], &ConstGauge::new(end)))
    })
}

fn launchers(table: &Table, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let mut each =
        |name: &str, help: &str, kind, write: &dyn Fn(&mut Family<'_>, &str, &Record) -> Result<(), Error>| {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            table.launchers.iter().try_for_each(|(name, record)| write(&mut family, name.as_str(), record))
        };
    let help = "messages, envelopes or dropped files by what became of them; found is the sum of the others";
    each("pertuis_launcher_items", help, MetricType::Counter, &|family, name, record| {
        let mut items = record.items.iter();
        items.try_for_each(|(word, count)| {
            one(family, [("outcome", *word), ("launcher", name)], &ConstCounter::new(*count))
        })
    })?;
    let help = "documents by what became of them";
    each("pertuis_launcher_files", help, MetricType::Counter, &|family, name, record| {
        let mut files = record.files.iter();
        files.try_for_each(|(word, count)| {
            one(family, [("outcome", *word), ("launcher", name)], &ConstCounter::new(*count))
        })
    })?;
    let help = "cycles that ended with an error";
    each("pertuis_launcher_failures", help, MetricType::Counter, &|family, name, record| {
        let mut failures = record.failures.iter();
        failures.try_for_each(|(code, count)| {
            one(family, [("code", *code), ("launcher", name)], &ConstCounter::new(*count))
        })
    })?;
    let help = "when a cycle last ended without an error; 0: not since the start";
    each("pertuis_launcher_last_success_timestamp_seconds", help, MetricType::Gauge, &|family, name, record| {
        let time = record.success.map_or(0, |success| success.time.as_second());
        one(family, [("launcher", name)], &ConstGauge::new(time))
    })?;
    let help = "duration of cycles";
    each("pertuis_launcher_cycle_seconds", help, MetricType::Histogram, &|family, name, record| {
        one(family, [("launcher", name)], &record.cycles)
    })
}

/// One series.
fn one<const N: usize>(
    family: &mut Family<'_>,
    labels: [(&str, &str); N],
    metric: &impl EncodeMetric,
) -> Result<(), Error> {
    metric.encode(family.encode_family(&labels)?)
}
