//! The headers say what the functions are: compared with the Rust source, with the shared library's
//! symbols, and with the layouts that Rust gives the structs.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::mem::offset_of;
use std::process::Command;
use support::{compiler, crate_dir, has, library, output, succeed};

use cenote_c::{
    cenote_buddy_options_t, cenote_chunk_options_t, cenote_counted_options_t, cenote_pool_options_t,
};

/// The exported functions of the crate, as C prototypes, by name.
fn functions() -> Vec<(String, String)> {
    let mut functions = Vec::new();
    for file in fs::read_dir(crate_dir().join("src")).expect("there is a source") {
        let path = file.expect("it can be listed").path();
        // Functions are in files; in folders, what they stand on. (The library's symbols tell.)
        if path.is_dir() {
            continue;
        }
        let source = fs::read_to_string(&path).expect("it can be read");
        let parsed = syn::parse_file(&source).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        for item in parsed.items {
            let syn::Item::Fn(function) = item else { continue };
            if is_exported(&function.attrs) {
                functions.push((function.sig.ident.to_string(), prototype(&function.sig)));
            }
        }
    }
    functions.sort();
    assert!(functions.len() > 80, "only {} functions", functions.len());
    functions
}

fn is_exported(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("unsafe") => {
            list.tokens.to_string() == "no_mangle"
        }
        other => other.path().is_ident("no_mangle"),
    })
}

fn prototype(signature: &syn::Signature) -> String {
    let abi = signature.abi.as_ref().and_then(|abi| abi.name.as_ref()).map(syn::LitStr::value);
    assert_eq!(abi.as_deref(), Some("C"), "{} must not unwind", signature.ident);
    let arguments: Vec<_> = signature
        .inputs
        .iter()
        .map(|argument| match argument {
            syn::FnArg::Typed(argument) => c_type(&argument.ty),
            syn::FnArg::Receiver(_) => panic!("{} has a receiver", signature.ident),
        })
        .collect();
    let arguments = if arguments.is_empty() { "void".into() } else { arguments.join(", ") };
    let returned = match &signature.output {
        syn::ReturnType::Default => "void".to_owned(),
        syn::ReturnType::Type(_, returned) => c_type(returned),
    };
    format!("{returned} {}({arguments});", signature.ident)
}

/// What a Rust type is called in C.
fn c_type(rust: &syn::Type) -> String {
    match rust {
        syn::Type::Ptr(pointer) => {
            let constant = if pointer.const_token.is_some() { "const " } else { "" };
            format!("{constant}{} *", c_type(&pointer.elem))
        }
        syn::Type::Path(path) => {
            let name = path.path.segments.last().expect("a name").ident.to_string();
            match name.as_str() {
                "c_void" => "void".into(),
                "c_char" => "char".into(),
                "c_int" => "int".into(),
                "usize" => "size_t".into(),
                "u64" => "uint64_t".into(),
                _ if name.starts_with("cenote_") => name,
                other => panic!("{other} has no place in a C ABI"),
            }
        }
        _ => panic!("no type for C"),
    }
}

/// A header without its comments.
fn code(header: &str) -> String {
    let text = fs::read_to_string(crate_dir().join(header)).expect("the header is there");
    let mut code = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("/*") {
        code.push_str(before);
        rest = after.split_once("*/").expect("comments end").1;
    }
    code + rest
}

/// Names of functions that the headers declare.
fn declared() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for header in ["include/cenote.h", "include/cenote/mp.h"] {
        let code = code(header);
        let lines: Vec<&str> =
            code.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        for statement in lines.join("\n").split(';') {
            // A function's name is what stands before the first parenthesis.
            let Some((head, _)) = statement.split_once('(') else { continue };
            let name = head.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next();
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

/// Compiles a C text that includes the headers.
fn compiles(name: &str, text: &str) -> Result<(), String> {
    let source = output(name);
    fs::write(&source, text).expect("the target folder is writable");
    let out = compiler(false)
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I"])
        .arg(crate_dir().join("include"))
        .arg(&source)
        .output()
        .expect("there is a C compiler");
    if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).into()) }
}

/// With functions alone, not the macro of the same name.
const HEADERS: &str = "#define CENOTE_NO_INLINE\n#include <cenote.h>\n#include <cenote/mp.h>\n";

#[test]
fn every_function_is_declared_as_it_is_defined() {
    // A second declaration of a function must agree with the header's, or it is an error.
    let mut text = HEADERS.to_owned();
    for (_, prototype) in functions() {
        text.push_str(&prototype);
        text.push('\n');
    }
    if let Err(error) = compiles("prototypes.c", &text) {
        panic!("the headers and the source differ:\n{error}");
    }
}

#[test]
fn a_difference_would_be_noticed() {
    for changed in [
        "void *cenote_pool_alloc(cenote_pool_t *, int);",
        "int cenote_pool_alloc(cenote_pool_t *, size_t);",
        "void *cenote_pool_alloc(const cenote_pool_t *, size_t);",
        "void *mp_alloc(cenote_pool_t *, size_t);",
        "void *cenote_pool_alloc(cenote_pool_t *);",
    ] {
        let error = compiles("changed.c", &format!("{HEADERS}{changed}\n")).unwrap_err();
        assert!(error.contains("conflicting types"), "{changed}: {error}");
    }
}

#[test]
fn the_headers_declare_all_functions_and_no_others() {
    let defined: BTreeSet<_> = functions().into_iter().map(|(name, _)| name).collect();
    assert_eq!(declared(), defined);
}

#[test]
fn each_header_stands_alone() {
    for header in ["cenote.h", "cenote/mp.h"] {
        let text =
            format!("#include <{header}>\n#include <{header}>\nint main(void) {{ return 0; }}\n");
        compiles("alone.c", &text).unwrap_or_else(|error| panic!("{header}: {error}"));
    }
}

#[test]
fn structs_have_the_same_layout_in_c() {
    let mut text = format!("{HEADERS}#include <stddef.h>\n");
    macro_rules! check {
        ($($type:ident { $($field:ident),* $(,)? })*) => { $(
            text.push_str(&format!(
                "_Static_assert(sizeof({0}) == {1} && _Alignof({0}) == {2}, \"{0}\");\n",
                stringify!($type), size_of::<$type>(), align_of::<$type>(),
            ));
            $( text.push_str(&format!(
                "_Static_assert(offsetof({0}, {1}) == {2}, \"{0}.{1}\");\n",
                stringify!($type), stringify!($field), offset_of!($type, $field),
            )); )*
            // All fields: one that only one side has would change the count.
            let fields = [$(stringify!($field)),*].len();
            assert_eq!(fields, fields_in_c(stringify!($type)), stringify!($type));
        )* };
    }
    check! {
        cenote_pool_options_t {
            size, name, account, first_block, largest_block, large_threshold, zero_on_release,
        }
        cenote_counted_options_t { size, name, account, page, zero_on_release }
        cenote_chunk_options_t {
            size, name, account, cluster_size, page_alignment, page_size, min_chunk_size,
            zero_on_release,
        }
        cenote_buddy_options_t { size, name, account, page, largest_block, region }
    }
    compiles("layouts.c", &text).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_short_way_looks_where_the_library_has_it() {
    // The library's own numbers are asserted where they are, in `src/handle`.
    let text = "#include <cenote.h>\n#include <stddef.h>\n\
        #if UINTPTR_MAX > 0xffffffff && defined(__GNUC__) && !defined(CENOTE_NO_INLINE)\n\
        _Static_assert(offsetof(struct cenote_pool_front, key) == 0, \"key\");\n\
        _Static_assert(offsetof(struct cenote_pool_front, last) == 96, \"last\");\n\
        _Static_assert(offsetof(struct cenote_pool_front, end) == 112, \"end\");\n\
        _Static_assert(CENOTE_POOL_KEY == 0x2f6d3b95 && CENOTE_POOL_PLACE == 512, \"key\");\n\
        #endif\n";
    compiles("front.c", text).unwrap_or_else(|error| panic!("{error}"));
}

/// How many fields the header's struct of this name has.
fn fields_in_c(name: &str) -> usize {
    let code = code("include/cenote.h");
    let end = code.find(&format!("}} {name};")).unwrap_or_else(|| panic!("no {name}"));
    let start = code[..end].rfind("typedef struct").expect("it begins");
    code[start..end].matches(';').count()
}

#[test]
fn the_codes_are_the_same_in_c() {
    let rust = fs::read_to_string(crate_dir().join("src/error.rs")).expect("it is there");
    let from = rust.find("enum Status {").expect("the statuses are there");
    let body = &rust[from..from + rust[from..].find('}').expect("they end")];
    let mut text = HEADERS.to_owned();
    let mut count = 0;
    for line in body.lines().skip(1) {
        let Some((name, value)) = line.trim().trim_end_matches(',').split_once(" = ") else {
            continue;
        };
        let name: String = name
            .chars()
            .enumerate()
            .flat_map(|(at, c)| {
                let gap = (at > 0 && c.is_uppercase()).then_some('_');
                gap.into_iter().chain(c.to_uppercase())
            })
            .collect();
        let prefix = if value.starts_with('-') { "CENOTE_ERR_" } else { "CENOTE_" };
        text.push_str(&format!("_Static_assert({prefix}{name} == {value}, \"{name}\");\n"));
        count += 1;
    }
    assert_eq!(count, 19);
    compiles("codes.c", &text).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_shared_library_exports_the_functions_and_nothing_else() {
    if !cfg!(target_os = "linux") || !has("nm", "the shared library's symbols") {
        return;
    }
    let nm =
        succeed(Command::new("nm").args(["-D", "--defined-only"]).arg(library("libcenote_c.so")));
    let exported: BTreeSet<_> = String::from_utf8(nm.stdout)
        .expect("text")
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .map(str::to_owned)
        .collect();
    let defined: BTreeSet<_> = functions().into_iter().map(|(name, _)| name).collect();
    assert_eq!(exported, defined);
}
