//! What a model is asked, and how it answers: as the options say, else as the model's preset does.

use crate::{
    answer::Reading, config::Settings, engine::qwen::Task, generation::sampler::Sampling,
    models::preset::Preset, options::DraftChoice,
};

/// The task of a model with this preset, if it has one.
pub(super) fn task(settings: &Settings, preset: Option<&Preset>) -> Task {
    let given = settings.given;
    let of_preset = preset.filter(|_| !given.prompt);
    let own = of_preset.and_then(|preset| Some((preset, preset.prompt_for(settings.format)?)));
    let temperature = preset
        .and_then(|preset| preset.temperature)
        .filter(|_| !given.temperature)
        .unwrap_or(settings.temperature);
    let max_new_tokens = preset
        .and_then(|preset| preset.max_new_tokens)
        .filter(|_| !given.max_new_tokens)
        .unwrap_or(settings.max_new_tokens);
    // Sampled answers are not guessed, so no text need be read for them.
    let drafts = settings.draft != DraftChoice::Off && temperature == 0.0;
    Task {
        prompt: own.map_or_else(|| settings.prompt.clone(), |(_, prompt)| prompt.to_owned()),
        text_first: preset.is_some_and(|preset| preset.text_first),
        output_format: own.map_or(settings.format, |(preset, _)| preset.writes),
        // Another prompt may be answered in the same way, and one without a front matter is read as it is.
        reading: preset.map_or(Reading::Plain, |preset| preset.reading),
        sampling: Sampling {
            max_new_tokens,
            temperature,
            seed: settings.seed,
        },
        drafts,
        draft_head: drafts && settings.draft == DraftChoice::Mtp,
        batch_size: settings.batch_size,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        options::OutputFormat,
    };

    fn task_of(model: &str, args: &str) -> Task {
        let words = ["omnidocs", "extract", "in"];
        let parsed = Cli::parse_from(words.into_iter().chain(args.split_whitespace()));
        let Command::Extract(typed) = parsed.command else {
            panic!("that is another command");
        };
        task(&Settings::new(*typed).unwrap(), Preset::of(model, None))
    }

    #[test]
    fn presets_say_what_options_do_not() {
        let plain = task_of("org/model", "");
        assert!(plain.prompt.contains("Markdown") && !plain.text_first && plain.drafts);
        assert_eq!(plain.sampling.max_new_tokens, 4096);

        let olmocr = task_of("allenai/olmOCR-2-7B-1025", "");
        assert!(olmocr.prompt.contains("front matter") && olmocr.text_first);
        assert_eq!(olmocr.reading, Reading::FrontMatter);
        assert_eq!(olmocr.sampling.max_new_tokens, 8000);
        assert!((olmocr.sampling.temperature - 0.1).abs() < 1e-9 && !olmocr.drafts);

        let chandra = task_of("datalab-to/chandra", "");
        assert_eq!(chandra.output_format, OutputFormat::Html);
        assert_eq!(task_of("lightonai/LightOnOCR-3-4B", "").prompt, "");
    }

    #[test]
    fn options_replace_what_presets_say() {
        let model = "allenai/olmOCR-2-7B-1025";
        let typed = task_of(
            model,
            "--prompt Read. --max-new-tokens 7 --temperature 0 --format text",
        );
        assert_eq!(typed.prompt, "Read.");
        assert_eq!(typed.output_format, OutputFormat::Text);
        assert_eq!(typed.sampling.max_new_tokens, 7);
        assert!(typed.drafts, "greedy answers are drafted");
        let html = task_of(model, "--format html");
        assert!(html.prompt.contains("HTML with semantic tags"));
        assert_eq!(html.output_format, OutputFormat::Html);
    }
}
