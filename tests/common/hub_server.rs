//! A small model hub on loopback: the paths, headers and redirects of the real one, a log, and faults on demand.
//!
//! It serves one folder as one model. Point `HF_ENDPOINT` at [`HubServer::url`].

// Every test binary that includes this file uses a part of it.
#![allow(dead_code)]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

/// What goes wrong, until [`HubServer::heal`].
#[derive(Debug, Clone)]
pub enum Fault {
    /// One body of this file ends after so many bytes, once.
    Cut { file: &'static str, after: usize },
    /// Every body of this file stops after so many bytes; after [`HubServer::heal`] it goes on.
    Stall { file: &'static str, after: usize },
    /// Every body of this file comes in pieces of 256 KiB with a pause before each.
    Slow { file: &'static str, pause: Duration },
    /// Every request whose path ends so is answered with this status.
    Status { path_end: &'static str, code: u16 },
    /// The listing gives this size for the file.
    ListedSize { file: &'static str, size: usize },
    /// The file's redirect has no `Location`.
    RedirectToNowhere { file: &'static str },
}

/// One request, as it came and as it was answered.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// Bytes of the body that were sent.
    pub sent: usize,
}

impl Request {
    /// Whether this request is for the content of `file` and not for its headers alone.
    pub fn fetches(&self, file: &str) -> bool {
        let of_file = self.path.rsplit('/').next() == Some(file);
        of_file && self.path.starts_with("/cdn/") && self.range.as_deref() != Some("bytes=0-0")
    }
}

/// The server; it ends when it is dropped.
pub struct HubServer {
    address: SocketAddr,
    hub: Arc<Hub>,
    listening: Option<thread::JoinHandle<()>>,
}

struct Hub {
    /// `owner/name`.
    id: String,
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    commit: String,
    /// Files are given only to those who send it.
    token: Option<String>,
    faults: Vec<Fault>,
    log: Vec<Request>,
    stopped: bool,
}

impl HubServer {
    /// Serves `folder` as the model `id`, at the commit [`Self::commit`], the branch `main` and the tag `v1`.
    pub fn new(id: &str, folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("the port's address");
        let state = State {
            commit: "1".repeat(40),
            ..State::default()
        };
        let hub = Arc::new(Hub {
            id: id.to_owned(),
            folder: folder.to_owned(),
            state: Mutex::new(state),
        });
        let serving = Arc::clone(&hub);
        let listening = thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.state().stopped {
                    break;
                }
                let hub = Arc::clone(&serving);
                // A client that goes away is its own affair.
                thread::spawn(move || stream.and_then(|stream| hub.answer(stream)));
            }
        });
        Self {
            address,
            hub,
            listening: Some(listening),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn commit(&self) -> String {
        self.hub.state().commit.clone()
    }

    /// `main` and `v1` are now another commit, of 40 times `digit`.
    pub fn push_commit(&self, digit: char) {
        self.hub.state().commit = digit.to_string().repeat(40);
    }

    /// From now on the model is gated.
    pub fn require_token(&self, token: &str) {
        self.hub.state().token = Some(token.to_owned());
    }

    pub fn break_with(&self, fault: Fault) {
        self.hub.state().faults.push(fault);
    }

    pub fn heal(&self) {
        self.hub.state().faults.clear();
    }

    /// All requests so far.
    pub fn log(&self) -> Vec<Request> {
        self.hub.state().log.clone()
    }

    /// The requests so far for the content of `file`.
    pub fn fetches_of(&self, file: &str) -> Vec<Request> {
        let mut log = self.log();
        log.retain(|request| request.fetches(file));
        log
    }

    /// Waits until so many bytes of `file` were sent in all.
    pub fn wait_for_bytes(&self, file: &str, bytes: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.fetches_of(file).iter().map(|r| r.sent).sum::<usize>() < bytes {
            assert!(Instant::now() < deadline, "nobody fetches {file}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.hub.state().stopped = true;
        self.heal();
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

/// A status, headers and a body; the body is sent unless the method is `HEAD`.
struct Answer {
    code: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(code: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            code,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn refusal(code: u16, reason: &str) -> Self {
        Self::new(code, format!("{{\"error\":\"{reason}\"}}")).with("X-Error-Code", reason)
    }
}

impl Hub {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread has panicked")
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let host = stream.local_addr()?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut headers = BTreeMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let (path, query) = target.split_once('?').unwrap_or((target.as_str(), ""));
        let request = Request {
            method,
            path: path.replace("%2F", "/"),
            range: headers.remove("range"),
            authorization: headers.remove("authorization"),
            sent: 0,
        };
        let place = {
            let mut state = self.state();
            state.log.push(request.clone());
            state.log.len() - 1
        };
        let answer = self.route(&request, query, &format!("http://{host}"));
        write!(
            stream,
            "HTTP/1.1 {} Whatever\r\nConnection: close\r\n",
            answer.code
        )?;
        write!(stream, "Content-Length: {}\r\n", answer.body.len())?;
        for (name, value) in &answer.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        stream.write_all(b"\r\n")?;
        if request.method == "HEAD" {
            return Ok(());
        }
        self.send_body(&mut stream, &request, place, &answer.body)
    }

    fn send_body(
        &self,
        stream: &mut TcpStream,
        request: &Request,
        place: usize,
        body: &[u8],
    ) -> std::io::Result<()> {
        let (mut end, mut pause, mut stall) = (body.len(), Duration::ZERO, false);
        self.state().faults.retain(|fault| match *fault {
            Fault::Cut { file, after } if request.fetches(file) => {
                end = after.min(end);
                false
            }
            Fault::Stall { file, after } if request.fetches(file) => {
                (end, stall) = (after.min(end), true);
                true
            }
            Fault::Slow { file, pause: each } if request.fetches(file) => {
                pause = each;
                true
            }
            _ => true,
        });
        self.send_pieces(stream, place, &body[..end], pause)?;
        if !stall {
            return Ok(());
        }
        while !self.state().faults.is_empty() {
            thread::sleep(Duration::from_millis(10));
        }
        self.send_pieces(stream, place, &body[end..], pause)
    }

    fn send_pieces(
        &self,
        stream: &mut TcpStream,
        place: usize,
        body: &[u8],
        pause: Duration,
    ) -> std::io::Result<()> {
        for piece in body.chunks(256 << 10) {
            thread::sleep(pause);
            stream.write_all(piece)?;
            self.state().log[place].sent += piece.len();
        }
        Ok(())
    }

    fn route(&self, request: &Request, query: &str, host: &str) -> Answer {
        let (commit, token, faults) = {
            let state = self.state();
            (
                state.commit.clone(),
                state.token.clone(),
                state.faults.clone(),
            )
        };
        for fault in &faults {
            if let Fault::Status { path_end, code } = fault
                && request.path.ends_with(path_end)
            {
                return Answer::refusal(*code, "Fault");
            }
        }
        let known = |revision: &str| ["main", "v1", &commit].contains(&revision);
        let path = request.path.as_str();

        if let Some(file) = path.strip_prefix("/cdn/") {
            // Where large files live: another server, with tags of its own.
            return self.content(file, request).with("ETag", "\"of-the-cdn\"");
        }
        if let Some(file) = path.strip_prefix(&format!("/api/resolve-cache/{}/", self.id)) {
            return self.small_file(file, request, &commit);
        }
        if let Some(revision) = path.strip_prefix(&format!("/api/models/{}/revision/", self.id)) {
            return if known(revision) {
                let blobs = query.split('&').any(|pair| pair == "blobs=true");
                Answer::new(200, self.listing(&commit, blobs, &faults))
                    .with("Content-Type", "application/json")
            } else {
                Answer::refusal(404, "RevisionNotFound")
            };
        }
        if let Some((revision, file)) = path
            .strip_prefix(&format!("/{}/resolve/", self.id))
            .and_then(|rest| rest.rsplit_once('/'))
        {
            let sent = request.authorization.as_deref();
            return match token.map(|token| format!("Bearer {token}")) {
                Some(_) if sent.is_none() => Answer::refusal(401, "GatedRepo"),
                Some(wanted) if sent != Some(&wanted) => Answer::refusal(403, "GatedRepo"),
                _ if !known(revision) => Answer::refusal(404, "RevisionNotFound"),
                _ => self.resolve(file, &commit, host, &faults),
            };
        }
        // The real hub doesn't tell strangers whether there is such a model.
        match request.authorization {
            None => Answer::refusal(401, "RepoNotFound"),
            Some(_) => Answer::refusal(404, "RepoNotFound"),
        }
    }

    /// Where a file is: elsewhere on this server if it is small, on another one if it is large.
    fn resolve(&self, file: &str, commit: &str, host: &str, faults: &[Fault]) -> Answer {
        let Ok(content) = fs::read(self.folder.join(file)) else {
            return Answer::refusal(404, "EntryNotFound");
        };
        let nowhere = faults.iter().any(
            |fault| matches!(fault, Fault::RedirectToNowhere { file: broken } if *broken == file),
        );
        if !is_large(file) && !nowhere {
            let location = format!("/api/resolve-cache/{}/{file}", self.id);
            return Answer::new(307, "").with("Location", location);
        }
        let answer = Answer::new(302, "")
            .with("X-Repo-Commit", commit)
            .with("X-Linked-Size", content.len().to_string())
            .with("X-Linked-Etag", format!("\"{}\"", tag(&content)));
        if nowhere {
            answer
        } else {
            answer.with("Location", format!("{host}/cdn/{file}"))
        }
    }

    fn small_file(&self, file: &str, request: &Request, commit: &str) -> Answer {
        let content = fs::read(self.folder.join(file)).unwrap_or_default();
        self.content(file, request)
            .with("ETag", format!("\"{}\"", tag(&content)))
            .with("X-Repo-Commit", commit)
    }

    /// The bytes of a file, or the range of them that is asked for.
    fn content(&self, file: &str, request: &Request) -> Answer {
        let Ok(content) = fs::read(self.folder.join(file)) else {
            return Answer::refusal(404, "EntryNotFound");
        };
        let size = content.len();
        let range = request.range.as_deref().and_then(|range| {
            let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
            let last = to.parse::<usize>().unwrap_or(size.saturating_sub(1));
            Some((
                from.parse::<usize>().ok()?,
                last.min(size.saturating_sub(1)),
            ))
        });
        let answer = match range {
            None => Answer::new(200, content),
            Some((from, last)) if from <= last && from < size => {
                Answer::new(206, &content[from..=last])
                    .with("Content-Range", format!("bytes {from}-{last}/{size}"))
            }
            Some(_) => Answer::new(416, "").with("Content-Range", format!("bytes */{size}")),
        };
        answer.with("Accept-Ranges", "bytes")
    }

    /// What `/api/models/…/revision/…` answers; the real one says much more.
    fn listing(&self, commit: &str, blobs: bool, faults: &[Fault]) -> String {
        let mut siblings = Vec::new();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let (name, content) = (
                entry.file_name(),
                fs::read(entry.path()).unwrap_or_default(),
            );
            let name = name.to_string_lossy();
            let listed = faults.iter().find_map(|fault| match fault {
                Fault::ListedSize { file, size } if *file == name => Some(*size),
                _ => None,
            });
            let (size, tag) = (listed.unwrap_or(content.len()), tag(&content));
            siblings.push(if !blobs {
                format!(r#"{{"rfilename":"{name}"}}"#)
            } else if is_large(&name) {
                format!(
                    r#"{{"rfilename":"{name}","size":{size},"blobId":"0","lfs":{{"sha256":"{tag}","size":{size},"pointerSize":134}}}}"#
                )
            } else {
                format!(r#"{{"rfilename":"{name}","size":{size},"blobId":"{tag}"}}"#)
            });
        }
        format!(
            r#"{{"id":"{}","sha":"{commit}","private":false,"siblings":[{}]}}"#,
            self.id,
            siblings.join(",")
        )
    }
}

fn is_large(file: &str) -> bool {
    file.ends_with(".safetensors")
}

/// A name for a content, as long as those of the real hub's large files.
fn tag(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}
