//! Wrong uses: what is said, and of which text.

use proc_macro2::TokenStream;

fn told(made: syn::Result<TokenStream>) -> (String, String) {
    let error = made.expect_err("an error");
    (error.to_string(), error.span().source_text().unwrap_or_default())
}

fn params(item: &str) -> (String, String) {
    told(crate::params::expand(item.parse().expect("tokens")))
}

fn task(attribute: &str, item: &str) -> (String, String) {
    told(crate::task::expand(attribute.parse().expect("tokens"), item.parse().expect("tokens")))
}

#[track_caller]
fn is(told: (String, String), message: &str, at: &str) {
    assert!(told.0.contains(message), "{message:?} is not in {:?}", told.0);
    assert_eq!(told.1, at, "{}", told.0);
}

const RUN: &str = "fn run(p: P) -> waft::Result<Outcome> {}";

#[test]
fn words_of_the_task_that_are_none() {
    is(task("nmae = \"x\"", RUN), "`nmae` is no word of `#[waft::task]`; known are name,", "nmae");
    is(task("name = \"a b\"", RUN), "a name is letters, digits", "\"a b\"");
    is(task("name = 7", RUN), "expected a text in quotes", "7");
    is(task("version = \"\"", RUN), "expected some plain text", "\"\"");
    is(task("check, check", RUN), "`check` is said twice", "check");
    is(task("check, returns = \"later\"", RUN), "expected \"after-reboot\"", "\"later\"");
    is(task("grants = \"facts\"", RUN), "expected a list of grants", "\"facts\"");
    is(task("grants = [\"facts\", 7]", RUN), "expected a text in quotes", "7");
}

#[test]
fn functions_that_are_no_task() {
    is(task("", "struct Run;"), "stands before a function", "struct");
    is(task("", "fn main(p: P) -> R {}"), "call this function `run`", "main");
    is(task("", "async fn run(p: P) -> R {}"), "a task is not async", "async");
    is(task("", "fn run<T>(p: T) -> R {}"), "no generic parameters", "<T>");
    is(task("", "fn run(p: P, q: Q) -> R {}"), "a task has one parameter", "q: Q");
    is(task("", "fn run(p: P) {}"), "a task returns its outcome", "run");
    is(task("", "fn run(&self) -> R {}"), "a task is a function, not a method", "&self");
}

#[test]
fn parameters_of_types_that_have_no_names() {
    is(params("struct P(String);"), "give the struct named fields", "P");
    is(params("struct P<T> { a: T }"), "no generic types", "<T>");
    is(params("union P { a: u8 }"), "a struct, or an enum of words", "union");
    is(params("enum E { A(u8) }"), "a variant is one word", "(u8)");
    is(params("enum E {}"), "without variants", "E");
    is(params("enum E { A, #[param(rename = \"a\")] B }"), "two variants are called `a`", "B");
    is(params("struct P { a: u8, #[param(alias = \"a\")] b: u8 }"), "two parameters are called `a`", "b");
}

#[test]
fn words_of_a_parameter_that_do_not_fit() {
    let field = |words: &str, ty: &str| params(&format!("struct P {{ #[param({words})] a: {ty} }}"));
    is(field("defualt = 1", "u8"), "`defualt` is no word of `#[param(..)]`; known are default,", "defualt");
    is(field("default = 1, default = 2", "u8"), "`default` is said twice", "default");
    is(field("default = 1", "Option<u8>"), "take the Option away", "default");
    is(field("default = x", "u8"), "expected a text, a number", "x");
    is(field("minimum = 1", "String"), "`minimum` is said of a number", "minimum");
    is(field("min_length = 1", "u8"), "`min_length` is said of a String", "min_length");
    is(field("choices = [\"a\"]", "State"), "the variants are the choices", "choices");
    is(field("choices = []", "String"), "expected a list of texts", "[]");
    is(field("choices = [\"a\"], default = \"b\"", "String"), "the default is none of the choices", "\"b\"");
    is(field("default = [1]", "u8"), "a list is the default of a Vec", "[1]");
    is(field("alias = \"a=b\"", "u8"), "without `=`", "\"a=b\"");
    is(field("minimum = 1.5", "u8"), "expected a number of the parameter's type", "1.5");
    is(field("maximum = 99999999999999999999", "u64"), "numbers of 64 bits", "99999999999999999999");
}

#[test]
fn what_is_right_is_not_told_of() {
    assert!(
        crate::task::expand(
            "grants = \"given\", check, returns = \"after-reboot\"".parse().expect("tokens"),
            RUN.parse().expect("tokens")
        )
        .is_ok()
    );
    let item =
        "struct P { #[param(default = -1.5, minimum = -2, sensitive, alias = \"b\", alias = \"c\")] a: f64 }";
    assert!(crate::params::expand(item.parse().expect("tokens")).is_ok());
}
