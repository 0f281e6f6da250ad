//! Tables of what becomes what, and properties over all datatypes.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

use super::super::contents::Datatype;
use super::super::proto::{
    InferParameter, InferRequestedOutputTensor, InferTensor, InferTensorContents, ModelInferRequest, ModelInferResponse,
};
use super::{answer, answer_text, head, question, question_text, readdress};
use crate::grpc::wire::MAX_ITEMS;
use crate::message::Unread;
use crate::room::NoRoom;

/// The JSON of a question: as a value, and as a text the same.
fn question_of(message: &Bytes) -> Result<Value, String> {
    let value = super::question_of(message).map(|(value, _)| value).map_err(|unread| unread.to_string());
    let text = question_text(message).map(|(text, _)| text).map_err(|unread| unread.to_string());
    assert_eq!(value.clone().map(|value| Bytes::from(value.to_string())), text);
    value
}

fn answer_of(message: &Bytes) -> Result<Value, String> {
    let value = super::answer_of(message).map(|(value, _)| value).map_err(|unread| unread.to_string());
    let text = answer_text(message).map(|(text, _)| text).map_err(|unread| unread.to_string());
    assert_eq!(value.clone().map(|value| Bytes::from(value.to_string())), text);
    value
}

fn request(input: InferTensor, raw: &[&'static [u8]]) -> Bytes {
    let raw_input_contents = raw.iter().map(|bytes| Bytes::from_static(bytes)).collect();
    let made = ModelInferRequest {
        model_name: "m".to_owned(),
        inputs: vec![input],
        raw_input_contents,
        ..ModelInferRequest::default()
    };
    Bytes::from(made.encode_to_vec())
}

fn tensor(datatype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> InferTensor {
    let (name, datatype) = ("x".to_owned(), datatype.to_owned());
    InferTensor { name, datatype, shape: shape.to_vec(), contents, ..InferTensor::default() }
}

#[test]
fn raw_contents_of_each_datatype_are_read() {
    let cases: [(&str, &'static [u8], Value); 14] = [
        ("BOOL", b"\x00\x01", json!([false, true])),
        ("INT8", b"\x80\x7f", json!([-128, 127])),
        ("INT16", b"\x00\x80\xff\x7f", json!([-32768, 32767])),
        ("INT32", b"\x00\x00\x00\x80\xff\xff\xff\x7f", json!([i32::MIN, i32::MAX])),
        ("INT64", b"\x00\0\0\0\0\0\0\x80\xff\xff\xff\xff\xff\xff\xff\x7f", json!([i64::MIN, i64::MAX])),
        ("UINT8", b"\x00\xff", json!([0, 255])),
        ("UINT16", b"\x00\x00\xff\xff", json!([0, 65535])),
        ("UINT32", b"\x00\x00\x00\x00\xff\xff\xff\xff", json!([0, u32::MAX])),
        ("UINT64", b"\x01\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", json!([1, u64::MAX])),
        ("FP16", b"\x00\x3e\x00\xc0", json!([1.5, -2.0])),
        ("BF16", b"\xc0\x3f\x00\xc0", json!([1.5, -2.0])),
        ("FP32", b"\x00\x00\xc0\x3f\x00\x00\x00\xc0", json!([1.5, -2.0])),
        ("FP64", b"\0\0\0\0\0\0\xf8\x3f\0\0\0\0\0\0\x00\xc0", json!([1.5, -2.0])),
        ("BYTES", b"\x02\0\0\0\xc3\xbc\0\0\0\0", json!(["ü", ""])),
    ];
    for (datatype, raw, data) in cases {
        let read = question_of(&request(tensor(datatype, &[2], None), &[raw])).expect(datatype);
        assert_eq!(read["inputs"][0]["data"], data, "{datatype}");
        // An answer in raw contents is the same bytes.
        let told = answer(&json!({"outputs": read["inputs"]}), "m", true).expect(datatype);
        let told = ModelInferResponse::decode(told).expect("a message");
        assert_eq!(told.raw_output_contents, [Bytes::from_static(raw)], "{datatype}");
    }
}

#[test]
fn a_question_has_all_that_its_message_has() {
    let asked = json!({
        "id": "7",
        "parameters": {"b": true, "f": 0.5, "i": i64::MIN, "s": "", "u": u64::MAX},
        "inputs": [
            {"name": "x", "shape": [1, 2], "datatype": "INT64", "parameters": {"content_type": "np"}, "data": [i64::MAX, i64::MIN]},
            {"name": "y", "shape": [], "datatype": "BYTES", "data": ["a"]},
            {"name": "z", "shape": [0], "datatype": "FP32", "data": []},
        ],
        "outputs": [{"name": "o", "parameters": {"binary_data": false}}],
    });
    let message = question(&asked, "m").expect("a message");
    assert_eq!(question_of(&message), Ok(asked));
    let told = ModelInferRequest::decode(message).expect("a message");
    assert_eq!((told.model_name.as_str(), told.model_version.as_str(), told.raw_input_contents.len()), ("m", "", 0));
    assert_eq!(
        told.inputs[0].contents.as_ref().map(|of| of.int64_contents.as_slice()),
        Some([i64::MAX, i64::MIN].as_slice())
    );
}

#[test]
fn an_answer_has_all_that_its_message_has() {
    let given = json!({
        "model_name": "m", "model_version": "3", "id": "7", "parameters": {"p": 1},
        "outputs": [{"name": "y", "shape": [2], "datatype": "UINT8", "data": [1, 255]}],
    });
    for raw in [false, true] {
        assert_eq!(answer_of(&answer(&given, "g", raw).expect("a message")), Ok(given.clone()));
    }
    let nameless = answer(&json!({"outputs": []}), "g", false).expect("a message");
    assert_eq!(answer_of(&nameless), Ok(json!({"model_name": "g", "outputs": []})));
}

#[test]
fn what_has_only_raw_contents_makes_all_of_them_raw() {
    let asked = json!({"inputs": [
        {"name": "x", "shape": [1], "datatype": "INT8", "data": [-1]},
        {"name": "h", "shape": [1], "datatype": "FP16", "data": [1.5]},
    ]});
    let told = ModelInferRequest::decode(question(&asked, "m").expect("a message")).expect("a message");
    assert_eq!(told.raw_input_contents, [Bytes::from_static(b"\xff"), Bytes::from_static(b"\x00\x3e")]);
    assert!(told.inputs.iter().all(|input| input.contents.is_none()));
}

fn assert_refused(cases: impl IntoIterator<Item = (Bytes, &'static str)>) {
    for (message, words) in cases {
        assert_eq!(question_of(&message), Err(words.to_owned()));
    }
}

#[test]
fn values_that_json_cannot_say_are_refused_in_words() {
    let nan = InferTensorContents { fp32_contents: vec![f32::NAN], ..InferTensorContents::default() };
    let bytes = vec![Bytes::from_static(b"\xff")];
    let bytes = InferTensorContents { bytes_contents: bytes, ..InferTensorContents::default() };
    assert_refused([
        (request(tensor("FP32", &[1], Some(nan)), &[]), "input \"x\": value 0 is NaN, which JSON cannot say"),
        (request(tensor("FP16", &[1], None), &[b"\x00\x7c"]), "input \"x\": value 0 is inf, which JSON cannot say"),
        (request(tensor("BYTES", &[1], Some(bytes)), &[]), "input \"x\": value 0 is no UTF-8, which JSON cannot say"),
    ]);
}

#[test]
fn contents_that_do_not_fit_are_refused_in_words() {
    let both = tensor("INT8", &[1], Some(InferTensorContents::default()));
    let of = |datatype, size, raw| request(tensor(datatype, &[size], None), &[raw]);
    assert_refused([
        (of("BYTES", 1, b"\x05\0\0\0ab"), "input \"x\": its raw bytes end within value 0"),
        (of("INT32", 1, b"\x05\0\0"), "input \"x\": its 3 raw bytes are no whole number of values of 4"),
        (of("INT8", 3, b"\x05\0"), "input \"x\": it has 2 values and the shape [3]"),
        (of("INT8", -1, b"\x05"), "input \"x\": it has 1 values and the shape [-1]"),
        (of("INT128", 1, b"\x05"), "input \"x\": the datatype \"INT128\" is none of the protocol"),
        (request(both, &[b"\x05"]), "input \"x\": it has both raw and typed contents"),
        (request(tensor("INT8", &[1], None), &[b"\x05", b"\x06"]), "there are 1 inputs and raw contents of 2"),
    ]);
    let cut = question_of(&Bytes::from_static(b"\x0a\xff"));
    assert!(cut.is_err_and(|words| words.starts_with("this is no ModelInferRequest: ")));
}

#[test]
fn shapes_that_cost_nothing_on_the_wire_are_refused() {
    let of = |shape: &[i64]| request(tensor("FP32", shape, None), &[b""]);
    assert_refused([
        (of(&[1_000_000_000_000, 0]), "input \"x\": it has 0 values and the shape [1000000000000, 0]"),
        (
            of(&[i64::MAX, i64::MAX, 0]),
            "input \"x\": it has 0 values and the shape [9223372036854775807, 9223372036854775807, 0]",
        ),
        (of(&[1; 33]), "it has 33 dimensions, and 32 are the most"),
        // One number a field instead of all in one.
        (
            Bytes::from([b"\x2a\x4e".as_slice(), &b"\x18\x01".repeat(39)].concat()),
            "it has 33 dimensions, and 32 are the most",
        ),
    ]);
    assert_eq!(question_of(&of(&[8, 0])).expect("few")["inputs"][0]["data"], json!([]));
    assert_eq!(question_of(&of(&[0, 1_000_000_000_000])).expect("none")["inputs"][0]["data"], json!([]));
}

#[test]
fn what_there_is_too_much_of_is_refused_before_it_is_read() {
    let count = MAX_ITEMS + 1;
    let asked = |message: ModelInferRequest| Bytes::from(message.encode_to_vec());
    let parameters = |count: usize| (0..count).map(|number| (number.to_string(), InferParameter::default())).collect();
    let outputs = vec![InferRequestedOutputTensor::default(); count];
    let input = InferTensor { parameters: parameters(count), ..InferTensor::default() };
    assert_refused([
        (asked(ModelInferRequest { outputs, ..Default::default() }), "it has 1025 outputs, and 1024 are the most"),
        (
            asked(ModelInferRequest { parameters: parameters(count), ..Default::default() }),
            "it has 1025 parameters, and 1024 are the most",
        ),
        (
            asked(ModelInferRequest { inputs: vec![input], ..Default::default() }),
            "it has 1025 parameters, and 1024 are the most",
        ),
    ]);
    let outputs = vec![InferTensor::default(); count];
    let told = Bytes::from(ModelInferResponse { outputs, ..Default::default() }.encode_to_vec());
    assert_eq!(answer_of(&told), Err("it has 1025 outputs, and 1024 are the most".to_owned()));
    assert_eq!(super::check_answer(&told), Err("it has 1025 outputs, and 1024 are the most".to_owned()));
}

#[test]
fn a_large_message_becomes_text_but_no_value() {
    static ZEROS: [u8; 4 << 20] = [0; 4 << 20];
    let message = request(tensor("INT8", &[4 << 20], None), &[&ZEROS]);
    let (text, _room) = question_text(&message).expect("a few times its size");
    assert_eq!(
        text.len(),
        r#"{"inputs":[{"name":"x","shape":[4194304],"datatype":"INT8","data":[]}]}"#.len() + (8 << 20) - 1
    );
    assert!(matches!(super::question_of(&message), Err(Unread::NoRoom { why: NoRoom::TooLarge { .. }, .. })));
}

#[test]
fn what_is_no_answer_is_known_without_reading_it() {
    let told = answer(&json!({"outputs": []}), "m", false).expect("a message");
    assert_eq!(super::check_answer(&told), Ok(()));
    let later = Bytes::from([told.as_ref(), b"\x38\x01"].concat());
    assert_eq!(super::check_answer(&later), Ok(()), "field 7 is one of a later version");
    let words = "this is no ModelInferResponse: it breaks off, or has fields of another kind";
    for wrong in [b"{\"x\": 1}".as_slice(), b"\x0a\xff", b"\x08\x01", b"\x0b"] {
        assert_eq!(super::check_answer(&Bytes::from_static(wrong)), Err(words.to_owned()), "{wrong:?}");
    }
}

#[test]
fn long_names_are_cut_in_words() {
    let name = "n".repeat(100_000);
    let long = InferTensor { name: name.clone(), ..tensor("INT8", &[1], None) };
    let words = question_of(&request(long, &[b"\x05\x06"])).expect_err("two");
    assert_eq!(words, format!("input \"{}\"...: it has 2 values and the shape [1]", &name[..64]));
    let asked = json!({"inputs": [{"name": name, "shape": [1], "datatype": "INT8", "data": []}]});
    assert!(question(&asked, "m").is_err_and(|words| words.len() < 200));
}

#[test]
fn json_that_is_no_message_is_refused_in_words() {
    let input = |datatype: &str, value: Value| json!({"inputs": [{"name": "x", "shape": [1], "datatype": datatype, "data": [value]}]});
    let long = "a".repeat(90);
    let cases = [
        (json!({"model": 1}), "there is no list \"inputs\"".to_owned()),
        (json!([]), "there is no list \"inputs\"".to_owned()),
        (json!({"inputs": [], "id": 7}), "id is 7, and has to be a string".to_owned()),
        (
            json!({"inputs": [], "parameters": {"p": null}}),
            "parameter \"p\" is neither a boolean, a number nor a string".to_owned(),
        ),
        (json!({"inputs": [], "parameters": []}), "parameters are no JSON object".to_owned()),
        (json!({"inputs": [], "outputs": [{}]}), "an output has no name".to_owned()),
        (input("INT8", json!(128)), "input \"x\": value 0 is 128, which is no INT8".to_owned()),
        (input("UINT64", json!(-1)), "input \"x\": value 0 is -1, which is no UINT64".to_owned()),
        (input("INT64", json!(1.5)), "input \"x\": value 0 is 1.5, which is no INT64".to_owned()),
        (input("INT64", json!(1e30)), "input \"x\": value 0 is 1e+30, which is no INT64".to_owned()),
        (input("FP32", json!(1e300)), "input \"x\": value 0 is 1e+300, which is no FP32".to_owned()),
        (input("FP16", json!(70000)), "input \"x\": value 0 is 70000, which is no FP16".to_owned()),
        (input("BOOL", json!(1)), "input \"x\": value 0 is 1, which is no BOOL".to_owned()),
        (input("INT32", json!(long)), format!("input \"x\": value 0 is \"{}\"..., which is no INT32", &long[..64])),
        (input("TEXT", json!("a")), "input \"x\": the datatype \"TEXT\" is none of the protocol".to_owned()),
        (
            json!({"inputs": [{"name": "x", "shape": [2], "datatype": "INT8", "data": [1]}]}),
            "tensor \"x\" has 1 values and the shape [2]".to_owned(),
        ),
        (
            json!({"inputs": [{"name": "x", "shape": [1], "datatype": "INT8"}]}),
            "tensor \"x\" has no data in JSON".to_owned(),
        ),
    ];
    for (asked, words) in cases {
        assert_eq!(question(&asked, "m"), Err(words), "{asked}");
    }
    // Expressions compute in doubles, and those are whole numbers all the same.
    assert!(question(&input("INT64", json!(2.0)), "m").is_ok());
}

#[test]
fn a_question_is_addressed_anew_without_being_read() {
    let mut asked = ModelInferRequest::decode(request(tensor("FP16", &[1], None), &[b"\x00\x7c"])).expect("a message");
    asked.model_version = "3".to_owned();
    let message = readdress(&Bytes::from(asked.encode_to_vec()), "other");
    let expected = ModelInferRequest { model_name: "other".to_owned(), model_version: String::new(), ..asked };
    assert_eq!(ModelInferRequest::decode(message), Ok(expected));
}

#[test]
fn a_head_tells_of_whom_is_asked_and_of_too_many_tensors() {
    let told = head(&request(tensor("INT8", &[1], None), &[b"\x05"])).expect("a head");
    assert_eq!((told.model_name(), told.model_version(), told.raw_input_contents.len()), ("m", "", 1));
    let many = vec![InferTensor::default(); MAX_ITEMS + 1];
    let message = ModelInferRequest { inputs: many, ..ModelInferRequest::default() }.encode_to_vec();
    assert_eq!(head(&Bytes::from(message)).map(drop), Err("it has 1025 inputs, and 1024 are the most".to_owned()));
    assert!(head(&Bytes::from_static(b"\x0a\xff")).is_err());
}

/// Data of each datatype that JSON can say.
fn data(datatype: Datatype) -> BoxedStrategy<Vec<Value>> {
    fn of<T: Into<Value> + std::fmt::Debug + 'static>(
        item: impl Strategy<Value = T> + 'static,
    ) -> BoxedStrategy<Vec<Value>> {
        prop::collection::vec(item.prop_map(Into::into), 0..8).boxed()
    }
    let finite = prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO;
    let single = prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO;
    match datatype {
        Datatype::Bool => of(any::<bool>()),
        Datatype::Int8 => of(any::<i8>()),
        Datatype::Int16 => of(any::<i16>()),
        Datatype::Int32 => of(any::<i32>()),
        Datatype::Int64 => of(any::<i64>()),
        Datatype::Uint8 => of(any::<u8>()),
        Datatype::Uint16 => of(any::<u16>()),
        Datatype::Uint32 => of(any::<u32>()),
        Datatype::Uint64 => of(any::<u64>()),
        Datatype::Fp16 => of(any::<u16>()
            .prop_map(half::f16::from_bits)
            .prop_filter("finite", |of| of.is_finite())
            .prop_map(half::f16::to_f64)),
        Datatype::Bf16 => of(any::<u16>()
            .prop_map(half::bf16::from_bits)
            .prop_filter("finite", |of| of.is_finite())
            .prop_map(half::bf16::to_f64)),
        Datatype::Fp32 => of(single),
        Datatype::Fp64 => of(finite),
        Datatype::Bytes => of(".*"),
    }
}

fn any_tensor() -> impl Strategy<Value = Value> {
    prop::sample::select(Datatype::ALL.to_vec()).prop_flat_map(|(name, datatype)| {
        data(datatype).prop_map(move |data| json!({"name": "t", "shape": [data.len()], "datatype": name, "data": data}))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// JSON becomes a message, that JSON again, through the text of JSON as well, and nothing is lost.
    #[test]
    fn messages_and_json_say_the_same(tensors in prop::collection::vec(any_tensor(), 1..4), raw: bool) {
        let asked = json!({"inputs": tensors.clone()});
        let asked: Value = serde_json::from_str(&asked.to_string()).expect("JSON");
        prop_assert_eq!(question_of(&question(&asked, "m").expect("a message")).expect("JSON"), asked);
        let given = json!({"model_name": "m", "outputs": tensors});
        prop_assert_eq!(answer_of(&answer(&given, "m", raw).expect("a message")).expect("JSON"), given);
    }

    /// Whatever comes is read or refused.
    #[test]
    fn no_bytes_break_the_reader(bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        drop((head(&bytes), question_of(&bytes), answer_of(&bytes)));
    }
}
