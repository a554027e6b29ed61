//! `#[param(..)]` of one field, and what follows from its type.

use crate::value::{Value, doc, key, known_once, quoted};
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Attribute, Error, Field, GenericArgument, Ident, LitStr, PathArguments, Result, Token, Type};

const WORDS: [&str; 12] = [
    "default",
    "choices",
    "minimum",
    "maximum",
    "min_length",
    "max_length",
    "min_items",
    "max_items",
    "pattern",
    "sensitive",
    "alias",
    "rename",
];

/// What can be said of a type by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    Real,
    Text,
    List,
    Other,
}

/// A value, and the word of the attribute that it was said by.
type Said = Option<(Ident, Value)>;

pub(crate) struct Param<'a> {
    pub(crate) field: &'a Ident,
    pub(crate) name: String,
    aliases: Vec<String>,
    description: Option<String>,
    /// As it is written.
    written: &'a Type,
    /// Without the `Option`.
    inner: &'a Type,
    is_option: bool,
    default: Said,
    choices: Said,
    minimum: Said,
    maximum: Said,
    min_length: Said,
    max_length: Said,
    min_items: Said,
    max_items: Said,
    pattern: Said,
    sensitive: bool,
}

/// `T` of `Option<T>`, by name.
fn within<'a>(ty: &'a Type, outer: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == outer)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match (arguments.args.first(), arguments.args.len()) {
        (Some(GenericArgument::Type(inner)), 1) => Some(inner),
        _ => None,
    }
}

fn ident(ty: &Type) -> Option<String> {
    let Type::Path(path) = ty else { return None };
    path.path.segments.last().map(|last| last.ident.to_string())
}

fn kind(ty: &Type) -> Kind {
    match ident(ty).as_deref() {
        Some("u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize") => Kind::Whole,
        Some("f32" | "f64") => Kind::Real,
        Some("String") => Kind::Text,
        Some("Vec") => Kind::List,
        _ => Kind::Other,
    }
}

/// The least and the most that a type holds, where TOML can say it.
fn range(ty: &Type) -> (Option<i64>, Option<i64>) {
    match ident(ty).as_deref() {
        Some("u8") => (Some(0), Some(u8::MAX.into())),
        Some("u16") => (Some(0), Some(u16::MAX.into())),
        Some("u32" | "usize") => (Some(0), Some(u32::MAX.into())),
        Some("u64") => (Some(0), None),
        Some("i8") => (Some(i8::MIN.into()), Some(i8::MAX.into())),
        Some("i16") => (Some(i16::MIN.into()), Some(i16::MAX.into())),
        Some("i32" | "isize") => (Some(i32::MIN.into()), Some(i32::MAX.into())),
        _ => (None, None),
    }
}

impl<'a> Param<'a> {
    pub(crate) fn read(field: &'a Field) -> Result<Param<'a>> {
        let Some(ident) = &field.ident else {
            return Err(Error::new_spanned(
                &field.ty,
                "a parameter has a name: give the struct named fields",
            ));
        };
        let inner = within(&field.ty, "Option");
        let mut param = Param {
            field: ident,
            name: ident.unraw().to_string(),
            aliases: Vec::new(),
            description: doc(&field.attrs),
            written: &field.ty,
            inner: inner.unwrap_or(&field.ty),
            is_option: inner.is_some(),
            default: None,
            choices: None,
            minimum: None,
            maximum: None,
            min_length: None,
            max_length: None,
            min_items: None,
            max_items: None,
            pattern: None,
            sensitive: false,
        };
        let mut seen = Vec::new();
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("param")) {
            param.words(attribute, &mut seen)?;
        }
        param.fits()?;
        Ok(param)
    }

    fn words(&mut self, attribute: &Attribute, seen: &mut Vec<&'static str>) -> Result<()> {
        attribute.parse_nested_meta(|meta| {
            let Some(ident) = meta.path.get_ident() else {
                return Err(meta.error("expected one of the words of #[param(..)]"));
            };
            // Of aliases there may be several.
            if ident != "alias" || !seen.contains(&"alias") {
                known_once(ident, &WORDS, seen, "#[param(..)]")?;
            }
            if ident == "sensitive" {
                self.sensitive = true;
                return Ok(());
            }
            meta.input.parse::<Token![=]>().map_err(|error| {
                Error::new(error.span(), format!("`{ident}` takes a value: {ident} = .."))
            })?;
            let value: Value = meta.input.parse()?;
            let word = ident.to_string();
            let place = match word.as_str() {
                "alias" => {
                    self.aliases.push(named(value.text()?)?);
                    return Ok(());
                }
                "rename" => {
                    self.name = named(value.text()?)?;
                    return Ok(());
                }
                "default" => &mut self.default,
                "choices" => &mut self.choices,
                "minimum" => &mut self.minimum,
                "maximum" => &mut self.maximum,
                "min_length" => &mut self.min_length,
                "max_length" => &mut self.max_length,
                "min_items" => &mut self.min_items,
                "max_items" => &mut self.max_items,
                _ => &mut self.pattern,
            };
            *place = Some((ident.clone(), value));
            Ok(())
        })
    }

    /// Whether what was said can be said of such a type.
    fn fits(&self) -> Result<()> {
        let kind = kind(self.inner);
        let of = [
            (&self.minimum, &[Kind::Whole, Kind::Real][..], "a number"),
            (&self.maximum, &[Kind::Whole, Kind::Real], "a number"),
            (&self.min_length, &[Kind::Text], "a String"),
            (&self.max_length, &[Kind::Text], "a String"),
            (&self.pattern, &[Kind::Text], "a String"),
            (&self.choices, &[Kind::Text], "a String; of an enum, the variants are the choices"),
            (&self.min_items, &[Kind::List], "a Vec"),
            (&self.max_items, &[Kind::List], "a Vec"),
        ];
        for (said, kinds, what) in of {
            if let Some((word, _)) = said
                && !kinds.contains(&kind)
            {
                return Err(Error::new(word.span(), format!("`{word}` is said of {what}")));
            }
        }
        if let (Some((word, _)), true) = (&self.default, self.is_option) {
            let message = "a parameter with a default is never missing: take the Option away, or the default";
            return Err(Error::new(word.span(), message));
        }
        if let (Some((_, default)), Some((_, choices))) = (&self.default, &self.choices) {
            let text = default.text()?;
            if choices.texts()?.iter().all(|choice| choice.value() != text.value()) {
                return Err(Error::new(text.span(), "the default is none of the choices"));
            }
        }
        Ok(())
    }

    /// The parts of what stands in the braces of this parameter's table.
    pub(crate) fn schema(&self) -> Result<TokenStream> {
        let mut before = Vec::new();
        if let Some(description) = &self.description {
            before.push(format!("description = {}", quoted(description)));
        }
        if self.default.is_none() && !self.is_option {
            before.push("required = true".to_owned());
        }
        let mut after = String::new();
        let (least, most) = range(self.inner);
        let bounds = [("minimum", &self.minimum, least), ("maximum", &self.maximum, most)];
        for (key, said, of_type) in bounds {
            match (said, of_type) {
                (Some((_, value)), _) => after += &format!(", {key} = {}", value.toml()?),
                (None, Some(bound)) => after += &format!(", {key} = {bound}"),
                (None, None) => {}
            }
        }
        let others = [
            ("default", &self.default),
            ("enum", &self.choices),
            ("minLength", &self.min_length),
            ("maxLength", &self.max_length),
            ("minItems", &self.min_items),
            ("maxItems", &self.max_items),
            ("pattern", &self.pattern),
        ];
        for (key, said) in others {
            if let Some((_, value)) = said {
                after += &format!(", {key} = {}", value.toml()?);
            }
        }
        if !self.aliases.is_empty() {
            let aliases: Vec<String> = self.aliases.iter().map(|alias| quoted(alias)).collect();
            after += &format!(", aliases = [{}]", aliases.join(", "));
        }
        if self.sensitive {
            after += ", sensitive = true";
        }
        let before: String = before.iter().map(|part| format!("{part}, ")).collect();
        let inner = self.inner;
        Ok(quote! {
            ::waft::schema::Part::Text(#before),
            ::waft::schema::Part::Parts(<#inner as ::waft::schema::Schema>::SCHEMA),
            ::waft::schema::Part::Text(#after)
        })
    }

    pub(crate) fn key(&self) -> String {
        key(&self.name)
    }

    /// The names by which it is given; the first is its own.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.aliases.iter().map(String::as_str))
    }

    /// The field of what serde reads: what may be missing is an Option there.
    pub(crate) fn given(&self) -> TokenStream {
        let (field, name, aliases, inner) = (self.field, &self.name, &self.aliases, self.inner);
        let ty = match self.default.is_some() || self.is_option {
            true => quote!(::core::option::Option<#inner>),
            false => quote!(#inner),
        };
        quote!(#[serde(rename = #name #(, alias = #aliases)*)] #field: #ty)
    }

    /// `field: value` of the struct itself.
    pub(crate) fn taken(&self) -> Result<TokenStream> {
        let field = self.field;
        Ok(match &self.default {
            None => quote!(#field: given.#field),
            Some((_, value)) => {
                let default = default(self.written, value)?;
                quote!(#field: match given.#field {
                    ::core::option::Option::Some(given) => given,
                    ::core::option::Option::None => #default,
                })
            }
        })
    }

    /// A default text of an enum has to be one of its variants: said when the task is compiled.
    pub(crate) fn assertion(&self) -> TokenStream {
        let Some((_, Value::Text(text))) = &self.default else { return TokenStream::new() };
        let (inner, message) =
            (self.inner, format!("the default {} is none of the choices", quoted(&text.value())));
        quote_spanned! {text.span()=>
            const _: () = ::core::assert!(
                ::waft::schema::is_choice(<#inner as ::waft::schema::Schema>::CHOICES, #text),
                #message
            );
        }
    }

    /// What refuses a value that was read: another runtime looks at no manifest.
    pub(crate) fn checks(&self) -> Result<TokenStream> {
        let name = &self.name;
        let mut checks = Vec::new();
        let is_real = kind(self.inner) == Kind::Real;
        for (said, is_least) in [(&self.minimum, true), (&self.maximum, false)] {
            if let Some((_, value)) = said {
                let (bound, toml) = (value.number(is_real)?, value.toml()?);
                checks.push(match is_least {
                    true => (quote!(*value < #bound), format!("`{name}` is less than {toml}")),
                    false => (quote!(*value > #bound), format!("`{name}` is more than {toml}")),
                });
            }
        }
        let lengths = [
            (&self.min_length, quote!(value.chars().count()), true, "characters"),
            (&self.max_length, quote!(value.chars().count()), false, "characters"),
            (&self.min_items, quote!(value.len()), true, "entries"),
            (&self.max_items, quote!(value.len()), false, "entries"),
        ];
        for (said, length, is_least, of) in lengths {
            if let Some((_, value)) = said {
                let bound = value.count()?;
                checks.push(match is_least {
                    true => (quote!(#length < #bound), format!("`{name}` has less than {bound} {of}")),
                    false => (quote!(#length > #bound), format!("`{name}` has more than {bound} {of}")),
                });
            }
        }
        if let Some((_, value)) = &self.choices {
            let texts = value.texts()?;
            let known: Vec<String> = texts.iter().map(|text| text.value()).collect();
            let message = format!("`{name}` is none of {}", known.join(", "));
            checks.push((quote!(![#(#texts),*].contains(&value.as_str())), message));
        }
        if checks.is_empty() {
            return Ok(TokenStream::new());
        }
        let field = self.field;
        let checks = checks.iter().map(|(is_bad, message)| {
            quote! {
                if #is_bad {
                    return ::core::result::Result::Err(::waft::serde::de::Error::custom(#message));
                }
            }
        });
        Ok(match self.default.is_some() || self.is_option {
            true => quote!(if let ::core::option::Option::Some(value) = &given.#field { #(#checks)* }),
            false => quote!({ let value = &given.#field; #(#checks)* }),
        })
    }
}

/// A name of a parameter.
fn named(text: &LitStr) -> Result<String> {
    let name = text.value();
    if name.is_empty() || name.chars().any(|c| c.is_control() || c == '=' || c == '@' || c == ':') {
        return Err(Error::new(text.span(), "a parameter's name is a text without `=`, `:` and `@`"));
    }
    Ok(name)
}

fn default(ty: &Type, value: &Value) -> Result<TokenStream> {
    let span: Span = value.span();
    Ok(match value {
        Value::Text(text) => quote_spanned!(span=> <#ty as ::waft::schema::Text>::from_text(#text)),
        Value::Bool(bool) => quote!(#bool),
        Value::Whole { .. } | Value::Real { .. } => value.number(kind(ty) == Kind::Real)?,
        Value::List(items, _) => {
            let Some(inner) = within(ty, "Vec") else {
                return Err(Error::new(span, "a list is the default of a Vec"));
            };
            let items = items.iter().map(|item| default(inner, item)).collect::<Result<Vec<_>>>()?;
            quote!(::std::vec![#(#items),*])
        }
    })
}
