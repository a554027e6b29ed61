//! Values in attributes, as TOML; doc comments.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Expr, ExprLit, Lit, LitStr, Meta, Result, Token};

/// A text, number, boolean, or a list of these.
#[derive(Clone)]
pub(crate) enum Value {
    Text(LitStr),
    Whole { minus: bool, literal: syn::LitInt },
    Real { minus: bool, literal: syn::LitFloat },
    Bool(syn::LitBool),
    List(Vec<Value>, Span),
}

impl Parse for Value {
    fn parse(input: ParseStream<'_>) -> Result<Value> {
        if input.peek(syn::token::Bracket) {
            let content;
            let bracket = syn::bracketed!(content in input);
            let items = Punctuated::<Value, Token![,]>::parse_terminated(&content)?;
            return Ok(Value::List(items.into_iter().collect(), bracket.span.join()));
        }
        let minus = input.parse::<Option<Token![-]>>()?.is_some();
        let expected = "expected a text, a number, true, false, or a list of these in []";
        match input.parse::<Lit>().map_err(|error| Error::new(error.span(), expected))? {
            Lit::Int(literal) => Ok(Value::Whole { minus, literal }),
            Lit::Float(literal) => Ok(Value::Real { minus, literal }),
            Lit::Str(text) if !minus => Ok(Value::Text(text)),
            Lit::Bool(bool) if !minus => Ok(Value::Bool(bool)),
            other => Err(Error::new(other.span(), expected)),
        }
    }
}

impl Value {
    pub(crate) fn span(&self) -> Span {
        match self {
            Value::Text(text) => text.span(),
            Value::Whole { literal, .. } => literal.span(),
            Value::Real { literal, .. } => literal.span(),
            Value::Bool(bool) => bool.span(),
            Value::List(_, span) => *span,
        }
    }

    pub(crate) fn toml(&self) -> Result<String> {
        Ok(match self {
            Value::Text(text) => quoted(&text.value()),
            Value::Whole { minus, literal } => {
                let number: i128 = literal.base10_parse()?;
                let number = if *minus { -number } else { number };
                match i64::try_from(number) {
                    Ok(number) => number.to_string(),
                    Err(_) => return Err(Error::new(literal.span(), "a manifest has numbers of 64 bits")),
                }
            }
            Value::Real { minus, literal } => {
                let number: f64 = literal.base10_parse()?;
                format!("{:?}", if *minus { -number } else { number })
            }
            Value::Bool(bool) => bool.value.to_string(),
            Value::List(items, _) => {
                let items = items.iter().map(Value::toml).collect::<Result<Vec<_>>>()?;
                format!("[{}]", items.join(", "))
            }
        })
    }

    /// The number as Rust has it, for a type of reals with a point.
    pub(crate) fn number(&self, is_real: bool) -> Result<TokenStream> {
        let (minus, number) = match self {
            Value::Whole { minus, literal } if is_real => {
                let number: f64 = literal.base10_parse()?;
                let mut literal_f = proc_macro2::Literal::f64_unsuffixed(number);
                literal_f.set_span(literal.span());
                (*minus, quote!(#literal_f))
            }
            Value::Whole { minus, literal } => (*minus, quote!(#literal)),
            Value::Real { minus, literal } if is_real => (*minus, quote!(#literal)),
            other => return Err(Error::new(other.span(), "expected a number of the parameter's type")),
        };
        Ok(if minus { quote!(-#number) } else { number })
    }

    pub(crate) fn text(&self) -> Result<&LitStr> {
        match self {
            Value::Text(text) => Ok(text),
            other => Err(Error::new(other.span(), "expected a text in quotes")),
        }
    }

    /// A list of texts with something in it.
    pub(crate) fn texts(&self) -> Result<Vec<&LitStr>> {
        match self {
            Value::List(items, _) if !items.is_empty() => items.iter().map(Value::text).collect(),
            other => Err(Error::new(other.span(), "expected a list of texts: [\"..\", \"..\"]")),
        }
    }

    /// A length.
    pub(crate) fn count(&self) -> Result<usize> {
        match self {
            Value::Whole { minus: false, literal } => literal.base10_parse(),
            other => Err(Error::new(other.span(), "expected a whole number")),
        }
    }
}

/// A basic string of TOML.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            char if char.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(char))),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// A key of TOML, bare where it can be.
pub(crate) fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(is_bare) { name.to_owned() } else { quoted(name) }
}

/// The doc comment, in one line.
pub(crate) fn doc(attributes: &[Attribute]) -> Option<String> {
    let mut words = Vec::new();
    for attribute in attributes {
        if let Meta::NameValue(meta) = &attribute.meta
            && meta.path.is_ident("doc")
            && let Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) = &meta.value
        {
            words.extend(line.value().split_whitespace().map(str::to_owned));
        }
    }
    (!words.is_empty()).then(|| words.join(" "))
}

/// The key of `key = value` in an attribute, which is one of `known`, and comes once.
pub(crate) fn known_once<'a>(
    ident: &syn::Ident,
    known: &[&'a str],
    seen: &mut Vec<&'a str>,
    whose: &str,
) -> Result<&'a str> {
    let Some(key) = known.iter().find(|known| ident == **known) else {
        let message = format!("`{ident}` is no word of `{whose}`; known are {}", known.join(", "));
        return Err(Error::new(ident.span(), message));
    };
    if seen.contains(key) {
        return Err(Error::new(ident.span(), format!("`{ident}` is said twice")));
    }
    seen.push(key);
    Ok(key)
}
