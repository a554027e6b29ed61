//! The macros of `waft-sdk`, which documents them. What they make names that crate `::waft`, as a project of `waft new`
//! calls it.

mod param;
mod params;
mod task;
mod value;

use proc_macro::TokenStream;

/// See `waft::task`.
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    done(task::expand(attribute.into(), item.into()))
}

/// See `waft::Params`.
#[proc_macro_derive(Params, attributes(param))]
pub fn params(item: TokenStream) -> TokenStream {
    done(params::expand(item.into()))
}

fn done(made: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    made.unwrap_or_else(syn::Error::into_compile_error).into()
}

#[cfg(test)]
mod tests;
