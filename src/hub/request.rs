//! Requests to the hub: certificates and proxies, redirects, and a token that stays with its host.

use std::time::Duration;

use ureq::{
    Body,
    config::Config,
    http::{
        Response, Uri,
        header::{AUTHORIZATION, LOCATION, RANGE},
    },
};

use super::failure::Failure;
use crate::http::{Route, certificate_advice};

/// Maximum number of redirects of one request.
const MAX_REDIRECTS: usize = 10;
/// To connect takes no longer than this, or the hub is not there.
const CONNECT: Duration = Duration::from_secs(30);

/// Which redirects are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    /// All.
    All,
    /// Those that name no host, as the hub's own tools do: the headers of the last answer before another server's are what
    /// is asked for.
    Relative,
}

/// What the requests of a model have in common.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    pub(super) token: Option<String>,
    /// Timeout without data.
    pub(super) patience: Duration,
}

impl Requests {
    /// Gets `url`, or the `range` of it. A success, or, unless all redirects are followed, a redirect.
    pub(super) fn get(
        &self,
        url: &str,
        range: Option<&str>,
        follow: Follow,
        timeout: Option<Duration>,
    ) -> Result<Response<Body>, Failure> {
        let first = host_of(url)?;
        let mut url = url.to_owned();
        for _ in 0..MAX_REDIRECTS {
            let response = self.send(&url, &first, range, timeout)?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if !status.is_redirection() {
                return Err(Failure::Status(status.as_u16()));
            }
            if follow == Follow::Relative && names_host(&response) {
                return Ok(response);
            }
            url = location(&url, &response)?;
        }
        Err(Failure::Answer("too many redirects".to_owned()))
    }

    fn send(
        &self,
        url: &str,
        first: &str,
        range: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Response<Body>, Failure> {
        let route = Route::to(url).map_err(Failure::Setup)?;
        let config: Config = route
            .config()
            .timeout_connect(Some(CONNECT.min(self.patience)))
            .timeout_recv_response(Some(self.patience))
            .timeout_per_read(Some(self.patience))
            .timeout_global(timeout)
            .build();
        let mut request = config.new_agent().get(url);
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        // What a redirect leads to elsewhere is signed in its own way, and need not know the token.
        if let Some(token) = self
            .token
            .as_ref()
            .filter(|_| host_of(url).is_ok_and(|it| it == first))
        {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request
            .call()
            .map_err(|error| match certificate_advice(&error) {
                Some(advice) => {
                    Failure::Certificate(format!("{}; {advice}", route.describe(&error)))
                }
                None => Failure::of_request(&error, |error| route.describe(error), self.patience),
            })
    }
}

fn names_host(response: &Response<Body>) -> bool {
    let location = response.headers().get(LOCATION);
    location.is_some_and(|place| place.to_str().is_ok_and(|place| place.contains("://")))
}

/// Where a redirect leads.
pub(super) fn location(from: &str, response: &Response<Body>) -> Result<String, Failure> {
    let location = response.headers().get(LOCATION);
    let location = location.and_then(|place| place.to_str().ok());
    let location =
        location.ok_or_else(|| Failure::Answer("a redirect without a location".to_owned()))?;
    match (location.contains("://"), location.starts_with('/')) {
        (true, _) => Ok(location.to_owned()),
        (false, true) => Ok(format!("{}{location}", host_of(from)?)),
        _ => Err(Failure::Answer(format!("a redirect to {location:?}"))),
    }
}

/// Scheme, host and port of a URL.
fn host_of(url: &str) -> Result<String, Failure> {
    let odd = || Failure::Answer(format!("{url:?} is no URL"));
    let uri: Uri = url.parse().map_err(|_| odd())?;
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) => Ok(format!("{scheme}://{authority}")),
        _ => Err(odd()),
    }
}
