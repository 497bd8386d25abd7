//! What the tests make workers do.

use std::{
    io::{self, Write},
    process, thread,
};

use super::{
    decoder::{PageCount, PageRequest},
    protocol::{self, Answered, Request, Wanted},
};

/// Faults and the pages that they hit, 0 being the opening of the document:
/// `OMNIDOCS_WORKER_FAULTS=crash:3,hang:5,memory:7`.
///
/// | fault | the worker |
/// |---|---|
/// | `crash` | aborts |
/// | `hang` | never answers |
/// | `memory` | takes memory until it gets no more |
/// | `surplus` | answers twice |
/// | `wrongticket` | answers another question |
/// | `endless` | announces a frame of 2^64 − 1 bytes and goes on writing |
/// | `hugecount` | says that the document has 2^32 − 1 pages |
pub(super) struct Faults(Vec<(String, u32)>);

impl Faults {
    pub(super) fn from_environment() -> Self {
        let faults = std::env::var("OMNIDOCS_WORKER_FAULTS").unwrap_or_default();
        let fault = |fault: &str| {
            let (what, page) = fault.split_once(':')?;
            Some((what.to_owned(), page.parse().ok()?))
        };
        Self(faults.split(',').filter_map(fault).collect())
    }

    fn of(&self, wanted: Wanted) -> Option<&str> {
        let page = match wanted {
            Wanted::PageCount => 0,
            Wanted::Page(PageRequest { number, .. }) => number,
        };
        let fault = self.0.iter().find(|(_, at)| *at == page);
        fault.map(|(what, _)| what.as_str())
    }

    /// Faults before a request is answered.
    pub(super) fn inject_before(&self, wanted: Wanted) {
        match self.of(wanted) {
            Some("crash") => process::abort(),
            Some("hang") => loop {
                thread::park();
            },
            Some("memory") => {
                let mut eaten = Vec::new();
                loop {
                    eaten.push(vec![0_u8; 1 << 26]);
                }
            }
            _ => {}
        }
    }

    /// Answers a request, with a fault if there is one.
    pub(super) fn answer(
        &self,
        to: &mut impl Write,
        request: Request,
        answer: &Answered,
    ) -> io::Result<()> {
        let ticket = request.ticket;
        match self.of(request.wanted) {
            Some("surplus") => protocol::write_answer(to, ticket, answer)?,
            Some("wrongticket") => {
                return protocol::write_answer(to, ticket.wrapping_add(1), answer);
            }
            Some("endless") => {
                to.write_all(&2_u32.to_le_bytes())?;
                to.write_all(&u64::MAX.to_le_bytes())?;
                to.write_all(b"{}")?;
                loop {
                    to.write_all(&[0; 1 << 12])?;
                }
            }
            Some("hugecount") => {
                return protocol::write_answer(
                    to,
                    ticket,
                    &Answered::PageCount(PageCount::all(u32::MAX)),
                );
            }
            _ => {}
        }
        protocol::write_answer(to, ticket, answer)
    }
}
