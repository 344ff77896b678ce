//! The client's half of the OCI distribution protocol: GET, with authentication, redirects and ranges.
//!
//! A request without credentials comes first; what the registry then asks for (a password, or a token from
//! its token server) is remembered for the repository. Secrets go only to the registry and its token
//! server, never to where a redirect leads.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderName, LOCATION, RANGE, USER_AGENT, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode, Uri};
use serde::Deserialize;
use tokio::time::timeout;

use super::RegistryError;
use super::challenge::{self, Challenge};
use super::conf::{Source, server};
use super::connect::{Connection, Connector, Target};
use super::credentials::Keyring;

const AGENT: &str = concat!("podbox/", env!("CARGO_PKG_VERSION"));
const MAX_REDIRECTS: usize = 8;
/// Until the head of a response, and between two pieces of its body.
const PATIENCE: Duration = Duration::from_secs(60);

const NO_SECRET: &str = ": it wants a login and there is none for it";

/// Talks to registries.
pub(crate) struct Client {
    connector: Connector,
    keyring: Keyring,
    /// `Authorization` values that worked, by registry and repository.
    authorizations: Mutex<HashMap<(String, String), String>>,
    /// Registries that were found to speak plain HTTP.
    plain: Mutex<HashMap<String, bool>>,
}

/// A response whose body is being read.
pub(crate) struct Answer {
    response: Response<Incoming>,
    target: Target,
    connection: Option<Connection>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Client {
    pub(crate) fn new(connector: Connector, keyring: Keyring) -> Client {
        Client {
            connector,
            keyring,
            authorizations: Mutex::new(HashMap::new()),
            plain: Mutex::new(HashMap::new()),
        }
    }

    /// GET `/v2/<repository>/<path>` with these extra headers. Any status but success is an error.
    pub(crate) async fn get(
        &self,
        source: &Source,
        path: &str,
        headers: &[(HeaderName, String)],
    ) -> Result<Answer, RegistryError> {
        let key = (source.registry.clone(), source.repository.clone());
        let known = locked(&self.authorizations).get(&key).cloned();
        let answer = self.get_once(source, path, headers, known).await?;
        if answer.response.status() != StatusCode::UNAUTHORIZED {
            return answer.success(path).await;
        }
        let values = answer.response.headers().get_all(WWW_AUTHENTICATE);
        let challenge = values.iter().filter_map(|value| challenge::parse(value.to_str().ok()?)).next();
        let asked = answer.target.clone();
        // Reading the refusal to its end lets the next request have the connection.
        let refused = answer.response.status().as_u16();
        let what = path.to_owned();
        let _ = self.whole(answer, 1 << 16).await;
        let Some(authorization) = self.meet(source, challenge, &asked).await? else {
            let (host, said) = (asked.display(), NO_SECRET.to_owned());
            return Err(RegistryError::Status { host, what, status: refused, said });
        };
        let answer = self.get_once(source, path, headers, Some(authorization.clone())).await?;
        let answer = answer.success(path).await?;
        locked(&self.authorizations).insert(key, authorization);
        Ok(answer)
    }

    /// Follows redirects; they get the headers, but no secret.
    async fn get_once(
        &self,
        source: &Source,
        path: &str,
        headers: &[(HeaderName, String)],
        authorization: Option<String>,
    ) -> Result<Answer, RegistryError> {
        let (host, port) = split_authority(server(&source.registry));
        let path = format!("/v2/{}/{path}", source.repository);
        let mut headers = headers.to_vec();
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        let mut answer = self.first(source, (host, port), &path, &headers).await?;
        let mut base = answer.target.clone();
        let mut path = path;
        for _ in 0..MAX_REDIRECTS {
            if !answer.response.status().is_redirection() {
                return Ok(answer);
            }
            let location = answer.response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let location = location.unwrap_or_default().to_owned();
            let Some((target, next)) = follow(&base, &path, &location) else {
                return Err(RegistryError::Protocol {
                    host: base.display(),
                    reason: format!("it redirects to {location:?}"),
                });
            };
            if (&target.host, target.port) != (&base.host, base.port) || target.https != base.https {
                headers.retain(|(name, _)| *name != AUTHORIZATION);
            }
            let request = |connection| send(connection, &target, &next, &headers);
            answer = self.exchange(&target, request).await?;
            (base, path) = (target, next);
        }
        Err(RegistryError::Protocol { host: base.display(), reason: "too many redirects".to_owned() })
    }

    /// The request to the registry itself. One on loopback or configured as insecure may speak plain HTTP;
    /// which it is, is found out once, HTTPS first.
    async fn first(
        &self,
        source: &Source,
        (host, port): (String, Option<u16>),
        path: &str,
        headers: &[(HeaderName, String)],
    ) -> Result<Answer, RegistryError> {
        let lenient = source.insecure || Target::is_loopback(&host);
        let known = locked(&self.plain).get(&source.registry).copied();
        let target = |https: bool| {
            let port = port.unwrap_or(if https { 443 } else { 80 });
            Target { https, host: host.clone(), port, insecure: lenient }
        };
        if known != Some(true) {
            let secure = target(true);
            match self.exchange(&secure, |connection| send(connection, &secure, path, headers)).await {
                Err(RegistryError::Tls { .. } | RegistryError::Connect { .. })
                    if lenient && known.is_none() => {}
                other => {
                    if other.is_ok() {
                        locked(&self.plain).insert(source.registry.clone(), false);
                    }
                    return other;
                }
            }
        }
        let plain = target(false);
        let answer = self.exchange(&plain, |connection| send(connection, &plain, path, headers)).await?;
        locked(&self.plain).insert(source.registry.clone(), true);
        Ok(answer)
    }

    /// One request. An idle connection may have been closed by the other side just now: then a new one is
    /// opened, once.
    async fn exchange<F, R>(&self, target: &Target, request: F) -> Result<Answer, RegistryError>
    where
        F: Fn(Connection) -> R,
        R: Future<Output = Result<(Response<Incoming>, Connection), RegistryError>>,
    {
        if let Some(connection) = self.connector.reuse(target)
            && let Ok((response, connection)) = request(connection).await
        {
            return Ok(Answer { response, target: target.clone(), connection: Some(connection) });
        }
        let (response, connection) = request(self.connector.open(target).await?).await?;
        Ok(Answer { response, target: target.clone(), connection: Some(connection) })
    }

    /// Gives the connection of a body that was read to its end to the next request.
    pub(crate) fn finish(&self, mut answer: Answer) {
        if let Some(connection) = answer.connection.take()
            && answer.response.body().is_end_stream()
        {
            self.connector.give_back(&answer.target, connection);
        }
    }

    /// What to answer the challenge with, if anything.
    async fn meet(
        &self,
        source: &Source,
        challenge: Option<Challenge>,
        asked: &Target,
    ) -> Result<Option<String>, RegistryError> {
        let credentials = self.keyring.find(&source.registry, &source.repository);
        let (realm, service, scope) = match challenge {
            None => return Ok(None),
            Some(Challenge::Basic) => return Ok(credentials.map(|credentials| credentials.header())),
            Some(Challenge::Bearer { realm, service, scope }) => (realm, service, scope),
        };
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", source.repository));
        let mut url = format!(
            "{realm}{}scope={}",
            if realm.contains('?') { '&' } else { '?' },
            challenge::encode(&scope)
        );
        if let Some(service) = service {
            url.push_str(&format!("&service={}", challenge::encode(&service)));
        }
        let wrong = |reason: &str| RegistryError::Protocol {
            host: source.registry.clone(),
            reason: reason.to_owned(),
        };
        let Some((mut target, path)) = absolute(&url) else {
            return Err(wrong("its token server's address is not a URL"));
        };
        target.insecure = source.insecure || Target::is_loopback(&target.host);
        let secret = credentials.map(|credentials| credentials.header());
        if secret.is_some() && !target.https && asked.https {
            return Err(wrong("its token server wants the password in clear"));
        }
        let headers: Vec<(HeaderName, String)> =
            secret.into_iter().map(|value| (AUTHORIZATION, value)).collect();
        let answer = self.exchange(&target, |connection| send(connection, &target, &path, &headers)).await?;
        let body = self.whole(answer.success("a token").await?, 1 << 20).await?;
        let token: Token = serde_json::from_slice(&body).map_err(|_| wrong("its token is not JSON"))?;
        let token = if token.token.is_empty() { token.access_token } else { token.token };
        Ok((!token.is_empty()).then(|| format!("Bearer {token}")))
    }

    /// The whole body, if it is not larger than `limit` bytes.
    pub(crate) async fn whole(&self, mut answer: Answer, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > limit {
                let reason = format!("it sends more than {limit} bytes");
                return Err(RegistryError::Protocol { host: answer.target.display(), reason });
            }
        }
        self.finish(answer);
        Ok(body)
    }
}

impl Answer {
    /// The next piece of the body; nothing at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            match timeout(PATIENCE, self.response.body_mut().frame()).await {
                Err(_) => {
                    return Err(RegistryError::Connect {
                        host: self.target.display(),
                        source: io::ErrorKind::TimedOut.into(),
                    });
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(source))) => {
                    return Err(RegistryError::Exchange { host: self.target.display(), source });
                }
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The server sends only the range that was asked for.
    pub(crate) fn is_partial(&self) -> bool {
        self.response.status() == StatusCode::PARTIAL_CONTENT
    }

    async fn success(mut self, what: &str) -> Result<Answer, RegistryError> {
        let status = self.response.status();
        if status.is_success() {
            return Ok(self);
        }
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = self.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > 1 << 16 {
                break;
            }
        }
        let entries = serde_json::from_slice::<Errors>(&body).map(|errors| errors.errors).unwrap_or_default();
        let said: Vec<String> = entries
            .into_iter()
            .map(|entry| if entry.message.is_empty() { entry.code } else { entry.message })
            .collect();
        Err(RegistryError::Status {
            host: self.target.display(),
            what: what.to_owned(),
            status: status.as_u16(),
            said: if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) },
        })
    }
}

/// The header that asks for the rest of a blob.
pub(crate) fn rest_from(offset: u64) -> (HeaderName, String) {
    (RANGE, format!("bytes={offset}-"))
}

/// The header that names the documents that are understood.
pub(crate) fn accept(types: &[&str]) -> (HeaderName, String) {
    (ACCEPT, types.join(", "))
}

async fn send(
    mut connection: Connection,
    target: &Target,
    path: &str,
    headers: &[(HeaderName, String)],
) -> Result<(Response<Incoming>, Connection), RegistryError> {
    let host = target.display();
    let mut request = Request::get(path).header(HOST, &host).header(USER_AGENT, AGENT);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| RegistryError::Protocol {
        host: host.clone(),
        reason: format!("no request can be made of {path:?} ({error})"),
    })?;
    match timeout(PATIENCE, connection.send_request(request)).await {
        Ok(Ok(response)) => Ok((response, connection)),
        Ok(Err(source)) => Err(RegistryError::Exchange { host, source }),
        Err(_) => Err(RegistryError::Connect { host, source: io::ErrorKind::TimedOut.into() }),
    }
}

/// Where a redirect leads, seen from where it came.
fn follow(base: &Target, path: &str, location: &str) -> Option<(Target, String)> {
    if let Some(found) = absolute(location) {
        let (mut target, next) = found;
        // Loss of TLS is what an attacker in between would want.
        if base.https && !target.https && !base.insecure {
            return None;
        }
        target.insecure = base.insecure && target.host == base.host;
        return Some((target, next));
    }
    if location.starts_with("//") || location.is_empty() {
        return None;
    }
    if location.starts_with('/') {
        return Some((base.clone(), location.to_owned()));
    }
    let directory = path.split('?').next()?.rsplit_once('/')?.0;
    Some((base.clone(), format!("{directory}/{location}")))
}

fn absolute(url: &str) -> Option<(Target, String)> {
    let uri: Uri = url.parse().ok()?;
    let https = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let host = uri.host()?.to_owned();
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Some((Target { https, host, port, insecure: false }, path))
}

fn split_authority(authority: &str) -> (String, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.ends_with(']') => match port.parse() {
            Ok(port) => (host.to_owned(), Some(port)),
            Err(_) => (authority.to_owned(), None),
        },
        _ => (authority.to_owned(), None),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_may_not_lose_tls() {
        let base = Target { https: true, host: "r.example".into(), port: 443, insecure: false };
        assert!(follow(&base, "/v2/a/blobs/x", "http://cdn.example/x").is_none());
        assert!(follow(&base, "/v2/a/blobs/x", "//cdn.example/x").is_none());
        let next = follow(&base, "/v2/a/blobs/x", "https://cdn.example:8443/x?y=1").expect("a target");
        assert_eq!((next.0.port, next.1.as_str()), (8443, "/x?y=1"));
        let next = follow(&base, "/v2/a/blobs/x", "y").expect("a target");
        assert_eq!(next.1, "/v2/a/blobs/y");
    }

    #[test]
    fn authorities_are_split_at_the_port() {
        assert_eq!(split_authority("a.example:5000"), ("a.example".into(), Some(5000)));
        assert_eq!(split_authority("[::1]:5000"), ("[::1]".into(), Some(5000)));
        assert_eq!(split_authority("[::1]"), ("[::1]".into(), None));
        assert_eq!(split_authority("a.example"), ("a.example".into(), None));
    }
}
