//! `#[derive(waft::Params)]`: how the parameters are read, and their schema.

use crate::param::Param;
use crate::value::{known_once, quoted};
use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{
    Attribute, Data, DataEnum, DataStruct, DeriveInput, Error, Fields, Ident, LitStr, Result, Token, parse2,
};

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = parse2(item)?;
    if !input.generics.params.is_empty() {
        let message = "parameters have no generic types: the manifest names each type";
        return Err(Error::new_spanned(&input.generics, message));
    }
    if let Some(attribute) = input.attrs.iter().find(|attribute| attribute.path().is_ident("param")) {
        return Err(Error::new_spanned(attribute, "#[param(..)] stands before a field or a variant"));
    }
    match &input.data {
        Data::Struct(data) => of_struct(&input.ident, data),
        Data::Enum(data) => of_enum(&input.ident, data),
        Data::Union(data) => {
            Err(Error::new(data.union_token.span, "parameters are a struct, or an enum of words"))
        }
    }
}

fn of_struct(ident: &Ident, data: &DataStruct) -> Result<TokenStream> {
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(ident, "parameters have names: give the struct named fields"));
    };
    let params = fields.named.iter().map(Param::read).collect::<Result<Vec<_>>>()?;
    let mut names: Vec<&str> = Vec::new();
    for param in &params {
        for name in param.names() {
            if names.contains(&name) {
                let message = format!("two parameters are called `{name}`");
                return Err(Error::new(param.field.span(), message));
            }
            names.push(name);
        }
    }
    let (mut lines, mut properties) = (Vec::new(), Vec::new());
    for param in &params {
        let (schema, key) = (param.schema()?, param.key());
        let line = format!("{key} = {{ ");
        lines.push(quote! {
            ::waft::schema::Part::Text(#line), #schema, ::waft::schema::Part::Text(" }\n")
        });
        let property = format!(", properties.{key} = {{ ");
        properties.push(quote! {
            ::waft::schema::Part::Text(#property), #schema, ::waft::schema::Part::Text(" }")
        });
    }
    let given = params.iter().map(Param::given);
    let assertions = params.iter().map(Param::assertion);
    let taken = params.iter().map(Param::taken).collect::<Result<Vec<_>>>()?;
    let checks = params.iter().map(Param::checks).collect::<Result<Vec<_>>>()?;
    let name = ident.unraw().to_string();
    Ok(quote! {
        impl ::waft::schema::Schema for #ident {
            const SCHEMA: &'static [::waft::schema::Part] = &[
                ::waft::schema::Part::Text("type = \"object\", additionalProperties = false")
                #(, #properties)*
            ];
        }

        impl ::waft::Params for #ident {
            const PARAMS: &'static [::waft::schema::Part] = &[#(#lines),*];
        }

        #(#assertions)*

        impl<'de> ::waft::serde::Deserialize<'de> for #ident {
            fn deserialize<D: ::waft::serde::Deserializer<'de>>(
                from: D,
            ) -> ::core::result::Result<Self, D::Error> {
                #[derive(::waft::serde::Deserialize)]
                #[serde(crate = "::waft::serde", rename = #name, deny_unknown_fields)]
                struct Given {
                    #(#given),*
                }
                let given = <Given as ::waft::serde::Deserialize>::deserialize(from)?;
                #(#checks)*
                ::core::result::Result::Ok(#ident { #(#taken),* })
            }
        }
    })
}

/// A variant's word: its name in lower case, with `_` before what were capitals.
fn word(ident: &Ident) -> String {
    let mut word = String::new();
    for char in ident.unraw().to_string().chars() {
        if char.is_uppercase() && !word.is_empty() && !word.ends_with('_') {
            word.push('_');
        }
        word.extend(char.to_lowercase());
    }
    word
}

fn renamed(attributes: &[Attribute]) -> Result<Option<String>> {
    let (mut name, mut seen) = (None, Vec::new());
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("param")) {
        attribute.parse_nested_meta(|meta| {
            let Some(ident) = meta.path.get_ident() else { return Err(meta.error("expected `rename`")) };
            known_once(ident, &["rename"], &mut seen, "#[param(..)] of a variant")?;
            meta.input.parse::<Token![=]>()?;
            name = Some(meta.input.parse::<LitStr>()?.value());
            Ok(())
        })?;
    }
    Ok(name)
}

fn of_enum(ident: &Ident, data: &DataEnum) -> Result<TokenStream> {
    let (mut words, mut variants) = (Vec::new(), Vec::new());
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            let message = "a variant is one word: it has no fields";
            return Err(Error::new_spanned(&variant.fields, message));
        }
        let word = renamed(&variant.attrs)?.unwrap_or_else(|| word(&variant.ident));
        if words.contains(&word) {
            return Err(Error::new(variant.ident.span(), format!("two variants are called `{word}`")));
        }
        words.push(word);
        variants.push(&variant.ident);
    }
    let Some(last) = variants.last() else {
        return Err(Error::new(ident.span(), "an enum without variants can be given no value"));
    };
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let schema = format!("type = \"string\", enum = [{}]", quoted.join(", "));
    let name = ident.unraw().to_string();
    Ok(quote! {
        impl ::waft::schema::Schema for #ident {
            const SCHEMA: &'static [::waft::schema::Part] = &[::waft::schema::Part::Text(#schema)];
            const CHOICES: &'static [&'static str] = &[#(#words),*];
        }

        impl ::waft::schema::Text for #ident {
            fn from_text(text: &'static str) -> Self {
                match text {
                    #(#words => #ident::#variants,)*
                    // What stands there was looked at when this was compiled.
                    _ => #ident::#last,
                }
            }
        }

        impl<'de> ::waft::serde::Deserialize<'de> for #ident {
            fn deserialize<D: ::waft::serde::Deserializer<'de>>(
                from: D,
            ) -> ::core::result::Result<Self, D::Error> {
                #[derive(::waft::serde::Deserialize)]
                #[serde(crate = "::waft::serde", rename = #name)]
                enum Given {
                    #(#[serde(rename = #words)] #variants),*
                }
                ::core::result::Result::Ok(match <Given as ::waft::serde::Deserialize>::deserialize(from)? {
                    #(Given::#variants => #ident::#variants),*
                })
            }
        }
    })
}
