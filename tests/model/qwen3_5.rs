//! Qwen3.5 keeps with its states what other families keep with keys and values: drafts, batches and pipelines change nothing.

use std::{fs, sync::Arc};

use candle_core::{D, DType, Device, Tensor};
use omnidocs::{
    generation::{
        chat_template::ChatTemplate,
        generator::{GenerateOptions, Generator},
        model::{SequenceSlice, VisionLanguageModel},
        sampler::Sampling,
        sequence::Generated,
    },
    models,
    nn::precision::Precision,
};

use super::{
    golden, max_difference,
    parity::{Case, tiny},
};

const FOLDERS: [&str; 2] = ["tiny-qwen3_5-tied", "tiny-qwen3_5-untied"];

fn generator(folder: &str, precision: impl Into<Precision>) -> Generator {
    let mut model =
        models::load_parts(&golden(folder), &Device::Cpu, precision.into(), None).unwrap();
    model.config.eos_token_ids.clear();
    Generator::new(Arc::new(model))
}

const GREEDY: Sampling = Sampling {
    max_new_tokens: 60,
    temperature: 0.0,
    seed: 0,
};

fn generate(model: &mut Generator, case: &Case, draft: Option<&str>) -> Generated {
    let prompt = model.tokenizer().prompt(&case.prompt).unwrap();
    let options = GenerateOptions {
        draft,
        ..GenerateOptions::default()
    };
    model
        .generate(&case.image(), &prompt, GREEDY, options)
        .unwrap()
}

/// What follows the prompt, token by token: the tokens, and the logits that each is the likeliest of.
fn greedy(model: &dyn VisionLanguageModel, case: &Case, count: usize) -> (Vec<u32>, Vec<Tensor>) {
    let mut cache = model.new_cache();
    let prompt = model.tokenizer().prompt(&case.prompt).unwrap();
    let prefilled = model
        .prefill(&case.image(), &prompt, count + 1, &mut cache)
        .unwrap();
    let mut logits = vec![prefilled.logits];
    let mut tokens = Vec::new();
    for i in 0..count {
        let token = logits[i].argmax(D::Minus1).unwrap();
        tokens.extend(token.to_vec1::<u32>().unwrap());
        let mut slices = [SequenceSlice {
            tokens: 1,
            position: prefilled.next + i as u32,
            cache: &mut cache,
        }];
        logits.push(model.forward(&token, &mut slices).unwrap());
    }
    (tokens, logits)
}

#[test]
fn rejected_drafts_leave_no_trace_in_the_state() {
    // How many tokens of each run are right, and how many wrong ones follow.
    const RUNS: [(usize, usize); 7] = [(3, 4), (1, 1), (1, 24), (6, 0), (2, 1), (1, 0), (5, 7)];
    for folder in FOLDERS {
        let model = tiny(folder);
        for case in Case::all(folder) {
            let (tokens, wanted) = greedy(&model, &case, 20);
            let mut cache = model.new_cache();
            let prompt = model.tokenizer().prompt(&case.prompt).unwrap();
            let prefilled = model
                .prefill(&case.image(), &prompt, 60, &mut cache)
                .unwrap();
            let mut at = 0;
            for (right, wrong) in RUNS {
                let mut run = tokens[at..at + right].to_vec();
                run.extend((0..wrong as u32).map(|i| 40 + 3 * i));
                let kept = cache.len() + right;
                let mut slices = [SequenceSlice {
                    tokens: run.len(),
                    position: prefilled.next + at as u32,
                    cache: &mut cache,
                }];
                let run = Tensor::new(run, &Device::Cpu).unwrap();
                let logits = model.forward(&run, &mut slices).unwrap();
                cache.truncate(kept).unwrap();
                for i in 0..right {
                    let found = logits.narrow(0, i, 1).unwrap();
                    let difference = max_difference(&found, &wanted[at + i + 1]);
                    assert!(difference < 1e-4, "{} {at}: {difference}", case.name);
                }
                at += right;
            }
        }
    }
}

#[test]
fn drafts_of_linear_attention_change_no_answer() {
    let mut accepted = 0;
    for folder in FOLDERS {
        for precision in [DType::F32.into(), Precision::Q8_0] {
            let mut model = generator(folder, precision);
            for case in Case::all(folder) {
                let alone = generate(&mut model, &case, None);
                let text = model.tokenizer().decode(&alone.tokens).unwrap();
                let half: String = text.chars().take(text.chars().count() / 2).collect();
                for draft in ["", &text, &half, &text.to_uppercase()] {
                    let drafted = generate(&mut model, &case, Some(draft));
                    assert_eq!(drafted.tokens, alone.tokens, "{} {precision:?}", case.name);
                    accepted += drafted.draft_accepted;
                }
            }
        }
    }
    assert!(accepted > 20, "{accepted} drafted tokens were right");
}

#[test]
fn batches_and_pipelines_of_linear_attention_change_no_answer() {
    for folder in FOLDERS {
        let mut model = generator(folder, DType::F32);
        let cases = Case::all(folder);
        let wanted: Vec<_> = cases
            .iter()
            .map(|case| generate(&mut model, case, None).tokens)
            .collect();
        for pipelined in [false, true] {
            model.pipelined = pipelined;
            // The second one joins when the first is under way.
            let mut sequences = Vec::new();
            for case in &cases {
                let prompt = model.tokenizer().prompt(&case.prompt).unwrap();
                let options = GenerateOptions::default();
                let sequence = model.begin(&case.image(), &prompt, GREEDY, options);
                sequences.push(sequence.unwrap());
                for _ in 0..7 {
                    let mut open: Vec<_> = sequences.iter_mut().collect();
                    model.advance(&mut open).unwrap();
                }
            }
            while sequences.iter().any(|sequence| sequence.ending().is_none()) {
                let open = sequences.iter_mut();
                let mut open: Vec<_> = open.filter(|one| one.ending().is_none()).collect();
                model.advance(&mut open).unwrap();
            }
            for (sequence, wanted) in sequences.into_iter().zip(&wanted) {
                let ending = sequence.ending().unwrap();
                assert_eq!(&model.finish(sequence, ending).tokens, wanted, "{folder}");
            }
        }
    }
}

/// That of the published models, without tools and videos.
const TEMPLATE: &str = "\
{%- set image_count = namespace(value=0) %}
{%- macro render_content(content, do_vision_count, is_system_content=false) %}
    {%- if content is string %}
        {{- content }}
    {%- elif content is iterable and content is not mapping %}
        {%- for item in content %}
            {%- if 'image' in item or 'image_url' in item or item.type == 'image' %}
                {%- if is_system_content %}
                    {{- raise_exception('System message cannot contain images.') }}
                {%- endif %}
                {%- if do_vision_count %}
                    {%- set image_count.value = image_count.value + 1 %}
                {%- endif %}
                {%- if add_vision_id %}
                    {{- 'Picture ' ~ image_count.value ~ ': ' }}
                {%- endif %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif 'text' in item %}
                {{- item.text }}
            {%- else %}
                {{- raise_exception('Unexpected item type in content.') }}
            {%- endif %}
        {%- endfor %}
    {%- elif content is none or content is undefined %}
        {{- '' }}
    {%- else %}
        {{- raise_exception('Unexpected content type.') }}
    {%- endif %}
{%- endmacro %}
{%- if not messages %}
    {{- raise_exception('No messages provided.') }}
{%- endif %}
{%- if tools and tools is iterable and tools is not mapping %}
    {{- tools | tojson }}
{%- elif messages[0].role == 'system' %}
    {%- set content = render_content(messages[0].content, false, true)|trim %}
    {{- '<|im_start|>system\\n' + content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == \"user\" %}
        {%- set content = render_content(message.content, false)|trim %}
        {%- if not(content.startswith('<tool_response>') and content.endswith('</tool_response>')) %}
            {%- set ns.multi_step_tool = false %}
            {%- set ns.last_query_index = index %}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if ns.multi_step_tool %}
    {{- raise_exception('No user query found in messages.') }}
{%- endif %}
{%- for message in messages %}
    {%- set content = render_content(message.content, true)|trim %}
    {%- if message.role == \"user\" %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- else %}
        {{- raise_exception('Unexpected message role.') }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- else %}
        {{- '<think>\\n' }}
    {%- endif %}
{%- endif %}";

#[test]
fn published_template_asks_without_thinking() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("chat_template.jinja"), TEMPLATE).unwrap();
    let template = ChatTemplate::read(folder.path()).unwrap();
    assert_eq!(
        template.render("Read this page.").unwrap(),
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Read this page.<|im_end|>\n\
         <|im_start|>assistant\n<think>\n\n</think>\n\n"
    );
}
