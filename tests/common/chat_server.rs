//! A chat server on loopback: it answers each page with a name for its pixels, and fails as it is told to.
//!
//! It stands for vLLM and its like: `GET /v1/models` and `POST /v1/chat/completions`. Connections are kept open.

// Every test binary that includes this file uses a part of it.
#![allow(dead_code)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What a request for a page is answered with.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The page's text.
    Text,
    /// This text, and why it ends.
    Said(String, &'static str),
    /// A status, further headers (each with its line end) and a body.
    Status(u16, String, String),
    /// A status of 200 and this body.
    Body(String),
    /// Nothing: the connection is closed before the first byte.
    HangUp,
    /// The connection is closed in the middle of the body.
    HalfABody,
    /// Headers, and then nothing for so long.
    Stall(Duration),
    /// The page's text in small pieces that take so long together.
    Drip(Duration),
}

/// Chooses the reply to the `n`-th request for a page (from 0), which is the `k`-th for this one.
pub type Script = dyn Fn(usize, usize) -> Reply + Send + Sync;

/// The server; it ends when it is dropped.
pub struct ChatServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<(thread::JoinHandle<()>, Arc<AtomicBool>)>,
}

struct Shared {
    /// None for a server that can't list them.
    models: Option<Vec<String>>,
    delay: Duration,
    script: Box<Script>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests for pages, as they came.
    requests: Vec<Request>,
    /// How often each page was asked for.
    asked: BTreeMap<String, usize>,
    /// How often the text of each page was sent whole.
    served: BTreeMap<String, usize>,
    in_flight: usize,
    most_in_flight: usize,
    connections: Vec<TcpStream>,
}

/// A request for a page.
#[derive(Debug, Clone)]
pub struct Request {
    /// A name for the pixels.
    pub page: String,
    pub authorization: Option<String>,
    pub json: Value,
    pub at: Instant,
}

impl ChatServer {
    /// Answers every page at once.
    pub fn new() -> Self {
        Self::with(Duration::ZERO, |_, _| Reply::Text)
    }

    /// Takes `delay` for each page and then does as the script says.
    pub fn with(
        delay: Duration,
        script: impl Fn(usize, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::of_models(Some(&["reader"]), delay, script)
    }

    pub fn of_models(
        models: Option<&[&str]>,
        delay: Duration,
        script: impl Fn(usize, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let mut server = Self {
            address: listener.local_addr().expect("the port's address"),
            shared: Arc::new(Shared {
                models: models.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
                delay,
                script: Box::new(script),
                state: Mutex::default(),
            }),
            listening: None,
        };
        server.listen(listener);
        server
    }

    fn listen(&mut self, listener: TcpListener) {
        let (shared, stopped) = (Arc::clone(&self.shared), Arc::new(AtomicBool::new(false)));
        let stop = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let shared = Arc::clone(&shared);
                // A client that goes away is its own affair.
                thread::spawn(move || shared.serve(stream));
            }
        });
        self.listening = Some((thread, stopped));
    }

    /// Breaks all connections and takes no more.
    pub fn stop(&mut self) {
        if let Some((thread, stopped)) = self.listening.take() {
            stopped.store(true, Ordering::Relaxed);
            let _ = TcpStream::connect(self.address);
            thread.join().expect("the server's thread ends");
            for connection in self.state().connections.drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }

    /// Listens again at the same address.
    pub fn start(&mut self) {
        let listener = TcpListener::bind(self.address).expect("the port is free again");
        self.listen(listener);
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// All requests for pages so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// How often each page's text was sent whole.
    pub fn served(&self) -> BTreeMap<String, usize> {
        self.state().served.clone()
    }

    /// The most requests for pages that were answered at a time.
    pub fn most_in_flight(&self) -> usize {
        self.state().most_in_flight
    }

    /// Waits until so many pages were asked for.
    pub fn wait_for_requests(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.state().requests.len() < count {
            assert!(Instant::now() < deadline, "nobody asks");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for ChatServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread has panicked")
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        self.state().connections.push(stream.try_clone()?);
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        while let Some((path, authorization, body)) = read_request(&mut reader)? {
            if path == "/v1/models" {
                let Some(models) = &self.models else {
                    send(&mut stream, 500, "", "Internal Server Error")?;
                    continue;
                };
                let models: Vec<_> = models.iter().map(|id| json!({"id": id})).collect();
                send(&mut stream, 200, "", &json!({"data": models}).to_string())?;
                continue;
            }
            if path != "/v1/chat/completions" {
                send(&mut stream, 404, "", r#"{"detail":"Not Found"}"#)?;
                continue;
            }
            self.state().in_flight += 1;
            let sent = self.answer(&mut stream, authorization, &body);
            self.state().in_flight -= 1;
            if !sent? {
                break;
            }
        }
        stream.shutdown(Shutdown::Both)
    }

    /// Answers one page; says whether the connection may be used again.
    fn answer(
        &self,
        stream: &mut TcpStream,
        authorization: Option<String>,
        body: &[u8],
    ) -> std::io::Result<bool> {
        let json: Value = serde_json::from_slice(body).expect("a request is JSON");
        let parts = json["messages"][0]["content"].as_array();
        let mut urls = parts
            .into_iter()
            .flatten()
            .map(|part| &part["image_url"]["url"]);
        let url = urls.find_map(Value::as_str).expect("a page");
        let page = format!("{:x}", Sha256::digest(url.as_bytes()));
        let page = page[..12].to_owned();
        let reply = {
            let mut state = self.state();
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
            state.requests.push(Request {
                page: page.clone(),
                authorization,
                json,
                at: Instant::now(),
            });
            let asked = state.asked.entry(page.clone()).or_default();
            *asked += 1;
            let before = *asked - 1;
            (self.script)(state.requests.len() - 1, before)
        };
        thread::sleep(self.delay);
        let whole = completion(&format!("page {page}"), "stop");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", whole.len());
        match reply {
            Reply::Text => send(stream, 200, "", &whole)?,
            Reply::Said(text, finish) => send(stream, 200, "", &completion(&text, finish))?,
            Reply::Status(code, headers, body) => {
                send(stream, code, &headers, &body)?;
                return Ok(true);
            }
            Reply::Body(body) => {
                send(stream, 200, "", &body)?;
                return Ok(true);
            }
            Reply::HangUp => return Ok(false),
            Reply::HalfABody => {
                stream.write_all(head.as_bytes())?;
                stream.write_all(&whole.as_bytes()[..whole.len() / 2])?;
                return Ok(false);
            }
            Reply::Stall(time) => {
                stream.write_all(head.as_bytes())?;
                thread::sleep(time);
                return Ok(false);
            }
            Reply::Drip(time) => {
                stream.write_all(head.as_bytes())?;
                let pieces: Vec<_> = whole.as_bytes().chunks(8).collect();
                for piece in &pieces {
                    thread::sleep(time / pieces.len() as u32);
                    stream.write_all(piece)?;
                }
            }
        }
        *self.state().served.entry(page).or_default() += 1;
        Ok(true)
    }
}

/// What a server of this kind writes about a page.
fn completion(text: &str, finish: &str) -> String {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": finish,
        }],
        "usage": {"prompt_tokens": 70, "completion_tokens": 3, "total_tokens": 73},
    })
    .to_string()
}

fn send(stream: &mut TcpStream, code: u16, headers: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {code} Whatever\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(answer.as_bytes())
}

/// Path, `Authorization` and body.
type Parts = (String, Option<String>, Vec<u8>);

/// The next request on a connection; none at its end.
fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Parts>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut authorization, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = Some(value.trim().to_owned()),
            "content-length" => length = value.trim().parse().expect("a length"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((path, authorization, body)))
}
