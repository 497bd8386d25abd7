//! A page as it is sent: a chat completion's request, whose picture lies in a file until it is answered, so that memory
//! does not grow with the number of requests.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek, Write},
};

use base64::{prelude::BASE64_STANDARD, write::EncoderWriter};
use image::{
    ExtendedColorType, ImageEncoder, ImageError, ImageResult, RgbImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use serde_json::json;

use crate::{engine::task::Task, generation::sampler::Sampling};

/// How the URL of a picture starts, in JSON; its data and the closing quote follow.
const DATA_URL: &str = "data:image/png;base64,";

/// A request, which can be sent any number of times.
#[derive(Debug)]
pub(super) struct Request {
    model: String,
    prompt: String,
    text_first: bool,
    /// Whether the tokens' probabilities are asked for.
    pub(super) wants_probabilities: bool,
    sampling: Sampling,
    /// The JSON text before the picture's data and after it.
    around: (String, String),
    picture: Picture,
    /// (width, height) in pixels that the model will see.
    pub(super) seen: (u32, u32),
}

/// A PNG file in base64.
#[derive(Debug)]
enum Picture {
    /// In a file without a name, which is gone when it is closed.
    File(File, u64),
    /// Where no file can be written.
    Memory(Vec<u8>),
}

impl Request {
    /// Asks `model` to do `task` with a page.
    ///
    /// # Errors
    /// The page can't be encoded.
    pub(super) fn new(
        image: &RgbImage,
        model: &str,
        task: &Task,
        wants_probabilities: bool,
    ) -> ImageResult<Self> {
        let mut request = Self {
            model: model.to_owned(),
            prompt: task.prompt.clone(),
            text_first: task.text_first,
            wants_probabilities,
            sampling: task.sampling,
            around: Default::default(),
            picture: Picture::new(image)?,
            seen: seen(image),
        };
        request.write();
        Ok(request)
    }

    /// From now on asks for an answer that is sampled like this.
    pub(super) fn set_sampling(&mut self, sampling: Sampling) {
        self.sampling = sampling;
        self.write();
    }

    /// From now on does not ask for the tokens' probabilities.
    pub(super) fn ask_without_probabilities(&mut self) {
        self.wants_probabilities = false;
        self.write();
    }

    fn write(&mut self) {
        let picture = json!({"type": "image_url", "image_url": {"url": DATA_URL}});
        let prompt = json!({"type": "text", "text": self.prompt});
        let content = if self.text_first {
            [prompt, picture]
        } else {
            [picture, prompt]
        };
        let mut request = json!({
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.sampling.max_new_tokens,
            "temperature": self.sampling.temperature,
            "seed": self.sampling.seed,
            "stream": false,
        });
        if self.wants_probabilities {
            request["logprobs"] = true.into();
        }
        let text = request.to_string();
        // In the prompt a quote would be escaped.
        let quoted = format!("\"url\":\"{DATA_URL}\"");
        let end = text.find(&quoted).map_or(0, |at| at + quoted.len() - 1);
        let (before, after) = text.split_at(end);
        self.around = (before.to_owned(), after.to_owned());
    }

    /// Length of the JSON text in bytes.
    pub(super) fn length(&self) -> u64 {
        self.around.0.len() as u64 + self.picture.length() + self.around.1.len() as u64
    }

    /// The JSON text.
    ///
    /// # Errors
    /// The file with the picture can't be read.
    pub(super) fn body(&self) -> io::Result<impl Read> {
        let (before, after) = (self.around.0.as_bytes(), self.around.1.as_bytes());
        Ok(before.chain(self.picture.read()?).chain(after))
    }
}

impl Picture {
    fn new(image: &RgbImage) -> ImageResult<Self> {
        let written = tempfile::tempfile().map_err(ImageError::IoError);
        match written.and_then(|file| encode(image, io::BufWriter::new(file))) {
            Ok(file) => {
                let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                let length = file.metadata()?.len();
                Ok(Self::File(file, length))
            }
            Err(ImageError::IoError(error)) => {
                tracing::debug!(
                    "a request stays in memory, since no temporary file can be written: {error}"
                );
                encode(image, Vec::new()).map(Self::Memory)
            }
            Err(error) => Err(error),
        }
    }

    fn length(&self) -> u64 {
        match self {
            Self::File(_, length) => *length,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    fn read(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Self::File(file, _) => {
                let mut file = file;
                file.rewind()?;
                Box::new(BufReader::with_capacity(1 << 16, file))
            }
            Self::Memory(bytes) => Box::new(Cursor::new(bytes)),
        })
    }
}

/// What is left of a page whose model wants multiples of 28 pixels, as those of Qwen2.5-VL do, which alone answer in pixels.
fn seen(image: &RgbImage) -> (u32, u32) {
    const FACTOR: u32 = 28;
    let nearest = |side: u32| ((side + FACTOR / 2) / FACTOR).max(1) * FACTOR;
    (nearest(image.width()), nearest(image.height()))
}

/// Writes a page as PNG in base64.
fn encode<W: Write>(image: &RgbImage, file: W) -> ImageResult<W> {
    let (width, height) = image.dimensions();
    let mut base64 = EncoderWriter::new(file, &BASE64_STANDARD);
    PngEncoder::new_with_quality(&mut base64, CompressionType::Fast, FilterType::Adaptive)
        .write_image(image, width, height, ExtendedColorType::Rgb8)?;
    Ok(base64.finish()?)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use serde_json::Value;

    use super::*;

    fn sent(request: &Request) -> Value {
        let mut text = Vec::new();
        request.body().unwrap().read_to_end(&mut text).unwrap();
        assert_eq!(text.len() as u64, request.length());
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn page_is_sent_unchanged_each_time() {
        let image = RgbImage::from_fn(96, 64, |x, y| image::Rgb([x as u8, y as u8, 7]));
        let prompt = format!("Say {{\"url\":\"{DATA_URL}\"}} in Größe");
        let task = Task {
            prompt: prompt.clone(),
            text_first: true,
            ..crate::engine::server::tests::task()
        };
        let mut request = Request::new(&image, "m", &task, false).unwrap();
        assert!(matches!(request.picture, Picture::File(..)));
        for (text_first, temperature) in [(true, 0.0), (false, 0.5)] {
            request.text_first = text_first;
            request.wants_probabilities = text_first;
            request.set_sampling(Sampling {
                temperature,
                ..task.sampling
            });
            let body = sent(&request);
            assert_eq!(body["temperature"], temperature);
            assert_eq!(body.get("logprobs").is_some(), text_first);
            let content = &body["messages"][0]["content"];
            let (text, picture) = if text_first { (0, 1) } else { (1, 0) };
            assert_eq!(content[text]["text"], prompt.as_str());
            let url = content[picture]["image_url"]["url"].as_str().unwrap();
            let file = BASE64_STANDARD.decode(url.strip_prefix(DATA_URL).unwrap());
            let back = image::load_from_memory(&file.unwrap()).unwrap().into_rgb8();
            assert_eq!(back, image);
        }
    }
}
