//! `#[waft::task]`: the main function, and the manifest as a section of the module.

use crate::value::{Value, doc, known_once, quoted};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Error, FnArg, Ident, ItemFn, LitStr, Result, ReturnType, Token, parse2};

const WORDS: [&str; 7] = ["name", "version", "description", "grants", "check", "returns", "more"];
/// When a task is over, beside at once.
const RETURNS: &str = "after-reboot";

#[derive(Default)]
struct Words {
    name: Option<LitStr>,
    version: Option<LitStr>,
    description: Option<LitStr>,
    /// As TOML.
    grants: Option<String>,
    check: bool,
    returns: Option<LitStr>,
    more: Option<LitStr>,
}

impl Parse for Words {
    fn parse(input: ParseStream<'_>) -> Result<Words> {
        let (mut words, mut seen) = (Words::default(), Vec::new());
        while !input.is_empty() {
            let ident: Ident = input.parse()?;
            let word = known_once(&ident, &WORDS, &mut seen, "#[waft::task]")?;
            if word == "check" {
                words.check = true;
            } else {
                input.parse::<Token![=]>()?;
                let value: Value = input.parse()?;
                match word {
                    "name" => words.name = Some(name(value.text()?)?),
                    "version" => words.version = Some(line(value.text()?)?),
                    "description" => words.description = Some(line(value.text()?)?),
                    "grants" => words.grants = Some(grants(&value)?),
                    "returns" => words.returns = Some(returns(value.text()?)?),
                    _ => words.more = Some(value.text()?.clone()),
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(words)
    }
}

fn name(text: &LitStr) -> Result<LitStr> {
    let name = text.value();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-./@".contains(c);
    if name.is_empty() || name.starts_with('-') || !name.chars().all(is_part) {
        let message = "a name is letters, digits and `_` `-` `.` `/` `@`, and does not begin with `-`";
        return Err(Error::new(text.span(), message));
    }
    Ok(text.clone())
}

fn line(text: &LitStr) -> Result<LitStr> {
    let value = text.value();
    if value.trim().is_empty() || value.chars().any(|c| c.is_control() && c != '\n') {
        return Err(Error::new(text.span(), "expected some plain text"));
    }
    Ok(text.clone())
}

fn returns(text: &LitStr) -> Result<LitStr> {
    match text.value() == RETURNS {
        true => Ok(text.clone()),
        false => Err(Error::new(text.span(), format!("expected \"{RETURNS}\""))),
    }
}

fn grants(value: &Value) -> Result<String> {
    match value {
        Value::Text(text) if text.value() == "given" => Ok(quoted("given")),
        Value::List(items, _) => {
            for item in items {
                item.text()?;
            }
            value.toml()
        }
        other => {
            let message = "expected a list of grants, [\"fs:/etc:ro\", \"facts\"], or \"given\"";
            Err(Error::new(other.span(), message))
        }
    }
}

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let words: Words = parse2(attribute)?;
    let function: ItemFn = parse2(item.clone()).map_err(|error| {
        let span = item.clone().into_iter().next().map_or(error.span(), |token| token.span());
        Error::new(
            span,
            "#[waft::task] stands before a function: fn run(params: Params) -> waft::Result<Outcome>",
        )
    })?;
    let parameter = parameter(&function)?;
    let run = &function.sig.ident;
    let head = head(&words, &function)?;
    let more =
        words.more.iter().map(|path| quote!(, ::waft::schema::Part::Text(::core::include_str!(#path))));
    let (params, call) = match parameter {
        Some(params) => (params, quote!(#run)),
        None => (quote!(::waft::schema::NoParams), quote!(|_: ::waft::schema::NoParams| #run())),
    };
    // What it returns is wrong where it says so.
    let main = quote_spanned!(function.sig.output.span()=> ::waft::main(#call));
    Ok(quote! {
        #function

        fn main() -> ::std::process::ExitCode {
            #main
        }

        const _: () = {
            const MANIFEST: &[::waft::schema::Part] = &[
                ::waft::schema::Part::Text(#head),
                ::waft::schema::Part::Parts(<#params as ::waft::Params>::PARAMS)
                #(#more)*
            ];
            const LENGTH: usize = ::waft::schema::length(MANIFEST);
            const _: () = ::core::assert!(
                LENGTH <= ::waft::schema::MANIFEST_BYTES_MAX,
                "the manifest has more than 64 KiB: shorten its descriptions"
            );
            #[cfg(target_arch = "wasm32")]
            #[used]
            #[unsafe(link_section = "waft.task")]
            static SECTION: [u8; LENGTH] = ::waft::schema::bytes(MANIFEST);
            #[cfg(not(target_arch = "wasm32"))]
            const _: [u8; LENGTH] = ::waft::schema::bytes(MANIFEST);
        };
    })
}

/// The type of the function's only parameter, if it has one.
fn parameter(function: &ItemFn) -> Result<Option<TokenStream>> {
    let signature = &function.sig;
    let no = |what: &dyn ToTokens, message: &str| Err(Error::new(what.span(), message));
    if signature.ident == "main" {
        return no(&signature.ident, "#[waft::task] makes `main` itself: call this function `run`");
    }
    if let Some(word) = &signature.asyncness {
        return no(word, "a task is not async: calls to the host wait for their answer");
    }
    if !signature.generics.params.is_empty() {
        return no(&signature.generics, "a task has no generic parameters: its manifest names one type");
    }
    if let ReturnType::Default = signature.output {
        return no(&signature.ident, "a task returns its outcome: -> waft::Result<Outcome>");
    }
    let mut inputs = signature.inputs.iter();
    let first = inputs.next();
    if let Some(second) = inputs.next() {
        return no(second, "a task has one parameter: a struct with #[derive(waft::Params)]");
    }
    match first {
        None => Ok(None),
        Some(FnArg::Typed(parameter)) => Ok(Some(parameter.ty.to_token_stream())),
        Some(receiver) => no(receiver, "a task is a function, not a method"),
    }
}

/// The manifest but for its parameters: what is not said comes from Cargo.toml and the function's doc comment.
fn head(words: &Words, function: &ItemFn) -> Result<String> {
    let package = |key: &str| std::env::var(key).ok().filter(|value| !value.is_empty());
    let said = |word: &Option<LitStr>| word.as_ref().map(LitStr::value);
    let mut head = String::new();
    let lines = [
        ("name", said(&words.name).or_else(|| package("CARGO_PKG_NAME"))),
        ("version", said(&words.version).or_else(|| package("CARGO_PKG_VERSION"))),
        (
            "description",
            said(&words.description)
                .or_else(|| doc(&function.attrs))
                .or_else(|| package("CARGO_PKG_DESCRIPTION")),
        ),
    ];
    for (key, value) in lines {
        if let Some(value) = value {
            head += &format!("{key} = {}\n", quoted(&value));
        }
    }
    if let Some(grants) = &words.grants {
        head += &format!("grants = {grants}\n");
    }
    if words.check {
        head += "check = true\n";
    }
    if let Some(returns) = &words.returns {
        head += &format!("returns = {}\n", quoted(&returns.value()));
    }
    head += "\n[params]\n";
    Ok(head)
}
