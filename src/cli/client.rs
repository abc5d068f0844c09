//! The client of a running agent, over its Unix socket.

use std::{path::PathBuf, time::Duration};

use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    context::Context,
    exit::{Exit, Failure},
};
use crate::http::{api::Problem, serve::SOCKET_FILE};

/// Longest time one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Speaks to the agent.
pub struct Client {
    http: reqwest::Client,
    socket: PathBuf,
}

impl Client {
    /// Makes a client for the agent of a state directory.
    ///
    /// # Errors
    /// When the state directory is not known.
    pub fn new(context: &Context) -> Result<Self, Failure> {
        let socket = context.state()?.directory.join(SOCKET_FILE);
        let http = reqwest::Client::builder().unix_socket(socket.clone()).timeout(TIMEOUT).build();
        Ok(Self { http: http.map_err(|error| Failure::internal(error.into()))?, socket })
    }

    /// Sends a request and returns the body of its answer.
    ///
    /// # Errors
    /// [`Exit::NoAgent`] when nobody answers, [`Exit::NotFound`] for a 404, [`Exit::Usage`] for a refused request.
    pub async fn send<B: Serialize>(&self, method: Method, path: &str, body: Option<&B>) -> Result<String, Failure> {
        let mut request = self.http.request(method, format!("http://firedrill{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| {
            if error.is_connect() {
                Failure::say(Exit::NoAgent, format!("no agent answers at `{}`", self.socket.display()))
            } else {
                Failure::internal(error.into())
            }
        })?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| Failure::internal(error.into()))?;
        if status.is_success() {
            return Ok(text);
        }
        let exit = match status {
            StatusCode::NOT_FOUND => Exit::NotFound,
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Exit::Usage,
            _ => Exit::Internal,
        };
        let said = match serde_json::from_str::<Problem>(&text) {
            Ok(problem) if problem.errors.is_empty() => problem.detail,
            Ok(problem) => format!("{}; {}\n{}", problem.title, problem.detail, problem.errors.join("\n")),
            Err(_) => format!("the agent answered {status}: {text}"),
        };
        Err(Failure::say(exit, said))
    }

    /// Sends a request and reads the JSON of its answer.
    ///
    /// # Errors
    /// As [`Client::send`], and when the answer is not what was expected.
    pub async fn ask<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, Failure> {
        let text = self.send(method, path, body).await?;
        serde_json::from_str(&text).map_err(|error| Failure::internal(error.into()))
    }
}
