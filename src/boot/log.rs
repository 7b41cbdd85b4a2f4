//! The log: one line per event, in Redis's own form, as `key=value` pairs, or as JSON.
//!
//! Levels: Redis's debug is `trace`, verbose is `debug`, notice is `info`, warning is `warn` and `error`. The file is
//! opened for each line, so that it can be moved away at any time, as with Redis.

use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Config, LogFormat, LogLevel, LogTimestampFormat};
use crate::sys::local_time::local_time;
use crate::sys::process;

use super::syslog::{Severity, Syslog};

pub(super) const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Changes the running log.
pub struct LogHandle {
    level: reload::Handle<LevelFilter, tracing_subscriber::Registry>,
    style: Arc<RwLock<Style>>,
}

impl LogHandle {
    /// Writes what the configuration says, in its form.
    pub fn set(&self, config: &Config) {
        *self.style.write() = Style::of(config);
        // Fails only when the log is gone, that is at the process's end.
        let _ = self.level.reload(filter(config.loglevel));
    }
}

/// How a line looks.
#[derive(Clone, Copy)]
struct Style {
    format: LogFormat,
    timestamp: LogTimestampFormat,
}

impl Style {
    fn of(config: &Config) -> Style {
        Style {
            format: config.log_format,
            timestamp: config.log_timestamp_format,
        }
    }
}

/// Starts the log as the configuration says.
pub fn start(config: &Config) -> anyhow::Result<LogHandle> {
    let style = Arc::new(RwLock::new(Style::of(config)));
    let lines = Lines {
        file: config.logfile.clone(),
        style: style.clone(),
        syslog: config
            .syslog_enabled
            .then(|| Syslog::new(&config.syslog_ident, config.syslog_facility)),
    };
    // A file that cannot be written is told now, not with the first line.
    lines.write(b"").map_err(|error| {
        let file = config.logfile.clone().unwrap_or_default();
        anyhow::anyhow!("Can't open the log file {}: {error}", file.display())
    })?;
    let (level, handle) = reload::Layer::new(filter(config.loglevel));
    tracing_subscriber::registry()
        .with(level)
        .with(lines)
        .try_init()?;
    Ok(LogHandle {
        level: handle,
        style,
    })
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    }
}

struct Lines {
    file: Option<PathBuf>,
    style: Arc<RwLock<Style>>,
    syslog: Option<Syslog>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Other crates' chatter is not the server's log.
        if !event.metadata().target().starts_with("kivi") {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let level = *event.metadata().level();
        let style = *self.style.read();
        let time = timestamp(style.timestamp, now.as_millis() as u64);
        let line = render(style.format, &time, level, &message.0);
        let _ = self.write(line.as_bytes());
        if let Some(syslog) = &self.syslog {
            syslog.send(now.as_secs(), severity(level), &message.0);
        }
    }
}

impl Lines {
    fn write(&self, line: &[u8]) -> io::Result<()> {
        match &self.file {
            Some(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)?
                .write_all(line),
            None => io::stdout().lock().write_all(line),
        }
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::TRACE => Severity::Debug,
        Level::DEBUG => Severity::Info,
        Level::INFO => Severity::Notice,
        Level::WARN | Level::ERROR => Severity::Warning,
    }
}

fn timestamp(format: LogTimestampFormat, unix_ms: u64) -> String {
    let ms = unix_ms % 1000;
    let local = local_time((unix_ms / 1000) as i64);
    match (format, local) {
        (LogTimestampFormat::Milliseconds, _) | (_, None) => unix_ms.to_string(),
        (LogTimestampFormat::Legacy, Some(t)) => format!(
            "{:02} {} {} {:02}:{:02}:{:02}.{ms:03}",
            t.day,
            MONTHS[t.month as usize - 1],
            t.year,
            t.hour,
            t.minute,
            t.second
        ),
        (LogTimestampFormat::Iso8601, Some(t)) => {
            let offset = t.offset_secs.abs() / 60;
            let sign = if t.offset_secs < 0 { '-' } else { '+' };
            format!(
                "{}-{:02}-{:02}T{:02}:{:02}:{:02}.{ms:03}{sign}{:02}:{:02}",
                t.year,
                t.month,
                t.day,
                t.hour,
                t.minute,
                t.second,
                offset / 60,
                offset % 60
            )
        }
    }
}

fn render(format: LogFormat, time: &str, level: Level, message: &str) -> String {
    let (name, mark) = match level {
        Level::TRACE => ("debug", '.'),
        Level::DEBUG => ("verbose", '-'),
        Level::INFO => ("notice", '*'),
        Level::WARN | Level::ERROR => ("warning", '#'),
    };
    let pid = process::pid();
    match format {
        LogFormat::Legacy => format!("{pid}:M {time} {mark} {}\n", one_line(message)),
        LogFormat::Logfmt => format!(
            "pid={pid} role=master timestamp=\"{time}\" level={name} message=\"{}\"\n",
            escape(message)
        ),
        LogFormat::Json => format!(
            "{{\"pid\":{pid},\"role\":\"master\",\"timestamp\":\"{time}\",\"level\":\"{name}\",\"message\":\"{}\"}}\n",
            escape(message)
        ),
    }
}

/// A message never forges a second line.
fn one_line(message: &str) -> String {
    message.replace(['\n', '\r'], " ")
}

fn escape(message: &str) -> String {
    let mut escaped = String::with_capacity(message.len());
    for c in message.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(escaped, "\\u{:04x}", c as u32);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        } else {
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_keeps_a_message_on_one_line() {
        let message = "a \"quoted\"\nforged line";
        for format in [LogFormat::Legacy, LogFormat::Logfmt, LogFormat::Json] {
            let line = render(format, "now", Level::WARN, message);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(line.ends_with('\n'));
        }
        let json = render(LogFormat::Json, "now", Level::INFO, message);
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed["message"], message);
        assert_eq!(parsed["level"], "notice");
    }

    #[test]
    fn timestamps_have_their_forms() {
        assert_eq!(
            timestamp(LogTimestampFormat::Milliseconds, 1_700_000_000_123),
            "1700000000123"
        );
        let legacy = timestamp(LogTimestampFormat::Legacy, 1_700_000_000_123);
        assert!(
            legacy.contains("Nov 2023") && legacy.ends_with(".123"),
            "{legacy}"
        );
        let iso = timestamp(LogTimestampFormat::Iso8601, 1_700_000_000_123);
        assert!(
            iso.starts_with("2023-11-1") && iso.contains(".123"),
            "{iso}"
        );
    }
}
