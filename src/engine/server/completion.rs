//! A server's answer in JSON: what it says of a page.

use serde::Deserialize;
use serde_json::Value;

/// A server's answer for a page.
#[derive(Debug, PartialEq)]
pub(super) struct Completed {
    pub text: String,
    /// The server's own word for why it stopped.
    pub finish: Option<String>,
    pub prompt_tokens: Option<usize>,
    pub completion_tokens: Option<usize>,
    /// The logarithms of the tokens' probabilities, if the server says them.
    pub log_probabilities: Vec<f32>,
}

/// A chat completion, as it is sent.
#[derive(Deserialize)]
pub(super) struct Completion {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
    /// Its form is not the same for all servers. Another one than OpenAI's is none.
    logprobs: Option<Value>,
}

/// OpenAI's form, which vLLM, SGLang and llama.cpp have too.
fn log_probabilities(logprobs: &Value) -> Vec<f32> {
    let tokens = logprobs.pointer("/content").and_then(Value::as_array);
    let logs = tokens.into_iter().flatten().map(|token| {
        let log = token.get("logprob")?.as_f64()?;
        // Of a token that is impossible by the server's rounding, OpenAI says −9999.
        log.is_finite().then_some(log.clamp(-100.0, 0.0) as f32)
    });
    logs.collect::<Option<_>>().unwrap_or_default()
}

#[derive(Deserialize)]
struct Message {
    content: Option<Content>,
}

/// Most servers write one text; some write a list of parts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<usize>,
    completion_tokens: Option<usize>,
}

impl Completion {
    /// What it says of its first choice; none if that has no text.
    pub(super) fn completed(self) -> Option<Completed> {
        let Choice {
            message,
            finish_reason,
            logprobs,
        } = self.choices.into_iter().next()?;
        let text = match message.content? {
            Content::Text(text) => text,
            Content::Parts(parts) => parts.into_iter().filter_map(|part| part.text).collect(),
        };
        let usage = self.usage.as_ref();
        Some(Completed {
            text,
            finish: finish_reason,
            prompt_tokens: usage.and_then(|usage| usage.prompt_tokens),
            completion_tokens: usage.and_then(|usage| usage.completion_tokens),
            log_probabilities: logprobs.as_ref().map(log_probabilities).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_answers_parse_in_all_forms() {
        let written = |content: &str| {
            let text = format!(
                r#"{{"id":"x","choices":[{{"index":0,"message":{{"role":"assistant","content":{content},"refusal":null}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}}}"#
            );
            serde_json::from_str::<Completion>(&text)
                .ok()
                .and_then(Completion::completed)
        };
        let expected = Completed {
            text: "two words".to_owned(),
            finish: Some("stop".to_owned()),
            prompt_tokens: Some(9),
            completion_tokens: Some(2),
            log_probabilities: Vec::new(),
        };
        let parts =
            r#"[{"type":"text","text":"two "},{"type":"other"},{"type":"text","text":"words"}]"#;
        assert_eq!(written(r#""two words""#).as_ref(), Some(&expected));
        assert_eq!(written(parts).as_ref(), Some(&expected));
        assert_eq!(written("null"), None);
        assert_eq!(written("7"), None);
        let bare = r#"{"choices":[{"message":{"content":""},"finish_reason":null}]}"#;
        let bare: Completion = serde_json::from_str(bare).unwrap();
        assert_eq!(bare.completed().unwrap().prompt_tokens, None);
        for (logprobs, expected) in [
            (
                r#"{"content":[{"token":"a","logprob":-0.5,"bytes":[97]},{"token":"b","logprob":-9999.0}]}"#,
                &[-0.5, -100.0][..],
            ),
            (
                r#"{"content":[{"token":"a","logprob":-0.5},{"token":"b"}]}"#,
                &[],
            ),
            (r#"{"content":null}"#, &[]),
            (r#"{"tokens":["a"],"token_logprobs":[-0.1]}"#, &[]),
            ("null", &[]),
            ("7", &[]),
        ] {
            let text = format!(
                r#"{{"choices":[{{"message":{{"content":"a"}},"finish_reason":"stop","logprobs":{logprobs}}}]}}"#
            );
            let completion: Completion = serde_json::from_str(&text).unwrap();
            assert_eq!(
                completion.completed().unwrap().log_probabilities,
                expected,
                "{logprobs}"
            );
        }
    }
}
