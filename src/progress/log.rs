//! The log on stderr: one write and one line per event, whatever it contains.

use std::{
    fmt,
    io::{self, Write},
    panic,
};

use serde::Serialize;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext,
        format::{FormatEvent, FormatFields, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{
    options::Verbosity,
    terminal::{self, Colour, paint, printable},
};

/// Sends the log, and the messages of panics, to stderr. `RUST_LOG` sets the level, else the verbosity.
pub(super) fn install(verbosity: Verbosity) {
    let level = match verbosity {
        Verbosity::Quiet => "error",
        Verbosity::Normal => "warn",
        Verbosity::Pages => "omnidocs=info,warn",
        Verbosity::Debug => "omnidocs=debug,info",
    };
    let chosen = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let filter = chosen
        .filter(|chosen| !chosen.is_empty())
        .and_then(|chosen| EnvFilter::try_new(chosen).ok())
        .unwrap_or_else(|| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Format)
        .with_writer(|| Line)
        // It would say so on the standard error, and panic if that is closed.
        .log_internal_errors(false);
    let log = tracing_subscriber::registry().with(filter).with(lines);
    // A log that was set up before stays as it is.
    if log.try_init().is_ok() {
        panic::set_hook(Box::new(|panic| {
            let what = panic.to_string().replace('\n', " ");
            terminal::log_line(format_args!("a thread {what}"));
        }));
    }
}

/// `warning: what happened`, printable except for its colours, without a newline.
struct Format;

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (label, colour) = match *event.metadata().level() {
            Level::ERROR => ("error:", Colour::Red),
            Level::WARN => ("warning:", Colour::Yellow),
            Level::INFO => ("info:", Colour::Bold),
            Level::DEBUG => ("debug:", Colour::Bold),
            Level::TRACE => ("trace:", Colour::Bold),
        };
        let mut said = String::new();
        context.format_fields(Writer::new(&mut said), event)?;
        if terminal::speaks_in_objects() {
            let level = label.trim_end_matches(':');
            let message = said.as_str();
            terminal::print_object("warning", &Warning { level, message });
            return Ok(());
        }
        let label = paint(label, colour, terminal::has_colours());
        write!(writer, "{label} {}", printable(&said))
    }
}

/// The fields of an event as an object.
#[derive(Serialize)]
struct Warning<'a> {
    level: &'a str,
    message: &'a str,
}

/// Collects an event, which arrives in one write.
struct Line;

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Empty, where the event was printed as an object.
        if !bytes.is_empty() {
            terminal::log(&String::from_utf8_lossy(bytes));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
