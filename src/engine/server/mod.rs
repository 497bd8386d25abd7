//! The engine that asks a server with the interface of OpenAI's chat completions: vLLM, SGLang, TGI, llama.cpp, Ollama.
//!
//! Each page is one request on a separate thread, up to the maximum number at a time. When interrupted, the run takes
//! the answers in flight; a page that waits for an unavailable server is left to the next run. How failed requests are
//! handled:
//!
//! | what happened | what becomes of it |
//! |---|---|
//! | no connection, a connection that broke, 408, 425, 429, 5xx | asked again, after the pause that `Retry-After` asks for or one that grows, for as long as `--server-wait`; then the page fails |
//! | no answer in the time of `--page-timeout` | the same, and that time counts as waiting |
//! | an answer that makes no sense | asked again `--retries` times |
//! | 401, 403, 404 | the run ends: no page would fare better |
//! | 400 and all else | the page fails, if the server has answered another page, or at the end a trivial question; the run ends if it refuses a second page and has answered none |

mod client;
mod completion;
mod models;
mod outage;
mod page;
mod refusals;
mod request;
mod settings;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use crossbeam_channel::{Select, Sender, unbounded};

use self::{
    client::Client,
    outage::Health,
    page::{Ended, Reader},
    refusals::Refusals,
};
pub use self::{
    models::find_model,
    settings::{API_KEY, ApiKey, Server},
};
use super::{Engine, scheduler::Policy, task::Task};
use crate::{
    cancel::{Cancel, Reason},
    clock,
    error::{ErrorKind, PageError, Stage},
    page::{EngineInfo, Needs, PageId, PageOutcome, PreparedPage},
    source::{Next, PageSource},
};

/// Reads pages by asking a server.
pub struct ServerEngine {
    info: EngineInfo,
    concurrency: usize,
    reader: Arc<Reader>,
}

/// A page that has left its thread.
struct Completed {
    id: PageId,
    size: Option<(u32, u32)>,
    attempts: u32,
    ended: Ended,
    elapsed: Duration,
}

impl ServerEngine {
    /// Its name in records.
    pub const NAME: &str = "server";
    /// What this engine looks at, known before there is one.
    pub const NEEDS: Needs = Needs {
        pixels: true,
        text: false,
    };

    /// Will ask `server` for the answers of `model`, as it calls it. Once `cancel` says that the run is to end, no page
    /// waits for a server that can't answer.
    ///
    /// # Errors
    /// What is set for the connection can't be used.
    pub fn new(
        server: &Server,
        model: String,
        task: Task,
        policy: Policy,
        cancel: &Cancel,
    ) -> Result<Self> {
        Ok(Self {
            info: EngineInfo {
                engine: Self::NAME,
                model: Some(model.clone()),
                output_format: task.wanted.format,
                device: None,
                dtype: None,
            },
            concurrency: server.concurrency,
            reader: Arc::new(Reader {
                client: Client::new(server)?,
                model,
                task,
                policy,
                health: Health::new(server.wait),
                says_probabilities: AtomicBool::new(true),
                cancel: cancel.child(),
            }),
        })
    }

    /// Starts a thread for a page, which sends its outcome.
    fn start(&self, page: PreparedPage, completed: &Sender<Completed>) -> Result<()> {
        let (reader, completed) = (Arc::clone(&self.reader), completed.clone());
        let PreparedPage { id, pixels, .. } = page;
        let size = pixels.as_ref().map(|image| image.dimensions());
        let work = move || {
            let begun = clock::now();
            let read = catch_unwind(AssertUnwindSafe(|| reader.read(pixels)));
            let (ended, attempts) = read.unwrap_or_else(|_| {
                let message = "the thread that asks the server failed; this is a bug";
                (Ended::Page(Err(error(ErrorKind::Crashed, message))), 1)
            });
            // If nobody is there any more, the run is over.
            let _ = completed.send(Completed {
                id,
                size,
                attempts,
                ended,
                elapsed: clock::since(begun),
            });
        };
        thread::Builder::new()
            .name("request".to_owned())
            .spawn(work)
            .context("cannot start a thread for a request; lower --concurrency")?;
        Ok(())
    }

    /// Hands on what became of a page, unless it is not known yet what to make of it.
    fn take(
        &self,
        completed: Completed,
        refusals: &mut Refusals,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        let Completed {
            id,
            size,
            attempts,
            ended,
            elapsed,
        } = completed;
        let outcome = |result| PageOutcome {
            id,
            result,
            by: self.info.clone(),
            attempts,
            size,
            warnings: Vec::new(),
            elapsed,
        };
        match ended {
            Ended::Final(words) => bail!(words),
            Ended::Undone => Ok(()),
            Ended::Page(result) => {
                if result.is_ok() {
                    refusals.answered();
                }
                done(outcome(result))?;
                refusals.hand_on(done)
            }
            Ended::Refused(words) => {
                let refused = outcome(Err(error(ErrorKind::Server, words)));
                refusals.refused(refused)?;
                refusals.hand_on(done)
            }
        }
    }

    /// Starts pages and takes them back until there are none.
    fn serve(
        &self,
        pages: &mut dyn PageSource,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        let (completed_tx, completed) = unbounded();
        let mut refusals = Refusals::default();
        let (mut in_flight, mut has_ended) = (0, false);
        while !has_ended || in_flight > 0 {
            // What is completed is written before another page is looked for.
            while let Ok(page) = completed.try_recv() {
                in_flight -= 1;
                self.take(page, &mut refusals, done)?;
            }
            let takes_more = !has_ended && in_flight < self.concurrency;
            if takes_more {
                match pages.poll()? {
                    Next::Item(page) => {
                        self.start(page, &completed_tx)?;
                        in_flight += 1;
                        continue;
                    }
                    Next::End => {
                        has_ended = true;
                        continue;
                    }
                    Next::NotYet => {}
                }
            }
            if has_ended && in_flight == 0 {
                break;
            }
            let mut select = Select::new();
            select.recv(&completed);
            if takes_more {
                pages.watch(&mut select);
            }
            select.ready();
        }
        refusals.end(|| self.reader.probe(), done)
    }
}

impl Engine for ServerEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn needs(&self) -> Needs {
        Self::NEEDS
    }

    fn run(
        &mut self,
        pages: &mut dyn PageSource,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        let ended = self.serve(pages, done);
        if ended.is_err() {
            self.reader.cancel.cancel(Reason::Stopped);
        }
        ended
    }
}

fn error(kind: ErrorKind, message: impl Into<String>) -> PageError {
    PageError::new(kind, Stage::Engine, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        answer::{Reading, Wanted},
        generation::sampler::Sampling,
    };

    /// What a test asks for.
    pub fn task() -> Task {
        Task {
            prompt: "Read!".to_owned(),
            text_first: false,
            reading: Reading::Plain,
            wanted: Wanted::default(),
            sampling: Sampling {
                max_new_tokens: 5,
                temperature: 0.0,
                seed: 1,
            },
            drafts: false,
            draft_head: false,
            batch_size: 1,
        }
    }
}
