//! The engine that asks a server with the interface of OpenAI's chat completions: vLLM, SGLang, TGI, llama.cpp, Ollama.
//!
//! Each page is one request, and a thread of its own for as long as that takes; there are never more than so many at a
//! time. Asked to end, the run takes the answers that are on their way, but a page that waits for a server that can't
//! answer is left for the next run. What becomes of a request that fails:
//!
//! | what happened | what becomes of it |
//! |---|---|
//! | no connection, a connection that broke, 408, 425, 429, 5xx | asked again, after the pause that `Retry-After` asks for or one that grows, for as long as `--server-wait`; then the page fails |
//! | no answer in the time of `--page-timeout` | the same, and that time counts as waiting |
//! | an answer that makes no sense | asked again `--retries` times |
//! | 401, 403, 404 | the run ends: no page would fare better |
//! | 400 and all else | the page fails, since the server has answered other pages; while it has answered none, the run ends |

mod client;
mod models;
mod outage;
mod page;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::{Context, Result, bail};

pub use self::models::find_model;
use self::{
    client::Client,
    outage::Health,
    page::{Ended, Reader},
};
use super::{Engine, EngineFacts, PageOutcome, page_by_page::Policy, qwen::Task};
use crate::{
    cancel::Interrupt,
    config::Server,
    error::{ErrorKind, PageError, Stage},
    page::{Needs, PageId, PreparedPage},
};

/// If the server refuses so many pages and takes none, it is not the pages' fault.
const REFUSALS: usize = 8;

/// Reads pages by asking a server.
pub struct ServerEngine {
    facts: EngineFacts,
    concurrency: usize,
    reader: Arc<Reader>,
}

/// A page that has left its thread.
struct Back {
    id: PageId,
    size: Option<(u32, u32)>,
    attempts: u32,
    ended: Ended,
}

impl ServerEngine {
    /// Its name in records.
    pub const NAME: &str = "server";
    /// What this engine looks at, known before there is one.
    pub const NEEDS: Needs = Needs {
        pixels: true,
        text: false,
    };

    /// Will ask `server` for the answers of `model`, as it calls it. After an `interrupt`, no page waits for a server that
    /// can't answer.
    #[must_use]
    pub fn new(
        server: &Server,
        model: String,
        task: Task,
        policy: Policy,
        interrupt: Interrupt,
    ) -> Self {
        Self {
            facts: EngineFacts {
                engine: Self::NAME,
                model: Some(model.clone()),
                output_format: task.output_format,
            },
            concurrency: server.concurrency,
            reader: Arc::new(Reader {
                client: Client::new(server),
                model,
                task,
                policy,
                health: Health::new(server.wait),
                stopped: AtomicBool::new(false),
                interrupt,
            }),
        }
    }

    /// Gives a page a thread of its own, which sends it `back`.
    fn start(&self, page: PreparedPage, back: &mpsc::Sender<Back>) -> Result<()> {
        let (reader, back) = (Arc::clone(&self.reader), back.clone());
        let work = move || {
            let read = catch_unwind(AssertUnwindSafe(|| reader.read(&page)));
            let (ended, attempts) = read.unwrap_or_else(|_| {
                let message = "the thread that asks the server failed; this is a bug";
                (Ended::Page(Err(error(ErrorKind::Crashed, message))), 1)
            });
            // If nobody is there any more, the run is over.
            let _ = back.send(Back {
                id: page.id,
                size: page.pixels.as_ref().map(image::RgbImage::dimensions),
                attempts,
                ended,
            });
        };
        thread::Builder::new()
            .name("request".to_owned())
            .spawn(work)
            .context("no thread can be started for a request; use a smaller --concurrency")?;
        Ok(())
    }
}

/// What is made of a server's refusals: they are the pages' fault if it has answered others.
#[derive(Default)]
struct Verdict {
    answers: bool,
    /// Pages that were refused, as long as that is not known, with the server's words.
    refused: Vec<(PageOutcome, String)>,
}

impl Verdict {
    /// A server that has answered no page so far would refuse all others too.
    fn end(&self) -> Result<()> {
        match self.refused.first() {
            Some((_, words)) => bail!("{words}"),
            None => Ok(()),
        }
    }
}

impl ServerEngine {
    /// Hands on what came back, unless it is not known yet what to make of it.
    fn take(
        &self,
        back: Back,
        verdict: &mut Verdict,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        let Back {
            id,
            size,
            attempts,
            ended,
        } = back;
        let outcome = |result| PageOutcome {
            id,
            result,
            by: self.facts.clone(),
            attempts,
            size,
            warnings: Vec::new(),
        };
        match ended {
            Ended::Final(words) => bail!(words),
            Ended::Undone => {}
            Ended::Page(result) => {
                verdict.answers |= result.is_ok();
                done(outcome(result))?;
            }
            Ended::Refused(words) => {
                let refused = Err(error(ErrorKind::Server, words.as_str()));
                verdict.refused.push((outcome(refused), words));
            }
        }
        if verdict.answers {
            return verdict
                .refused
                .drain(..)
                .try_for_each(|(outcome, _)| done(outcome));
        }
        if verdict.refused.len() >= REFUSALS {
            return verdict.end();
        }
        Ok(())
    }

    /// Starts pages and takes them back until there are none.
    fn deal(
        &self,
        pages: &mut dyn Iterator<Item = PreparedPage>,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        let (sender, backs) = mpsc::channel();
        let mut verdict = Verdict::default();
        let (mut in_flight, mut more) = (0, true);
        while more || in_flight > 0 {
            // What is back is written before another page is waited for.
            let back = if more && in_flight < self.concurrency {
                backs.try_recv().ok()
            } else {
                Some(backs.recv()?)
            };
            if let Some(back) = back {
                in_flight -= 1;
                self.take(back, &mut verdict, done)?;
            } else if let Some(page) = pages.next() {
                self.start(page, &sender)?;
                in_flight += 1;
            } else {
                more = false;
            }
        }
        verdict.end()
    }
}

impl Engine for ServerEngine {
    fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    fn needs(&self) -> Needs {
        Self::NEEDS
    }

    fn run(
        &mut self,
        pages: &mut dyn Iterator<Item = PreparedPage>,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        let ended = self.deal(pages, done);
        if ended.is_err() {
            self.reader.stopped.store(true, Ordering::Relaxed);
        }
        ended
    }
}

fn error(kind: ErrorKind, message: impl Into<String>) -> PageError {
    PageError::new(kind, Stage::Engine, message)
}
