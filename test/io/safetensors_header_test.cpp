#include "midus/io/safetensors_header.hpp"

#include <string>

#include "io/one_tensor.hpp"
#include "midus/io/safetensors.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using Catch::Matchers::Contains;
using midus::test::four;
using midus::test::one_tensor;
using midus::test::raw_safetensors;
using midus::test::refusal;
using midus::test::TemporaryDirectory;

TEST_CASE("Each violation names the file, the tensor, what was expected and what was found") {
  const TemporaryDirectory directory;
  const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  const auto says = [&](const std::string& header, const std::string& data, const std::string& expected) {
    INFO(header);
    CHECK_THAT(refusal(directory, raw_safetensors(header, data)),
               Contains("m.safetensors") && Contains(expected));
  };
  REQUIRE(refusal(directory, raw_safetensors(one_tensor(good), four)) == "nothing was thrown");

  // The first eight bytes and the frame.
  CHECK_THAT(refusal(directory, ""), Contains("expected at least 8 bytes") && Contains("found 0"));
  CHECK_THAT(refusal(directory, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
             Contains("found Git LFS's pointer") && Contains("`git lfs pull`"));
  CHECK_THAT(refusal(directory, "1234567"), Contains("found 7"));
  CHECK_THAT(refusal(directory, "\xff\xff\xff\xff\xff\xff\xff\xff{}"),
             Contains("at most 100000000 bytes, found 18446744073709551615"));
  CHECK_THAT(refusal(directory, std::string("\x03\0\0\0\0\0\0\0{}", 10)),
             Contains("the header takes 3 bytes; the file has only 2"));
  says("", "", "found an empty one");
  says(" {}", "", "begins with {, found \" \"");
  says("[]", "", "begins with {, found \"[\"");
  says("\xef\xbb\xbf{}", "", "begins with {");
  // Not JSON.
  says("{", "", "line 1, column 1: not JSON");
  says(one_tensor(good) + "x", four, "line 1, column 55: not JSON");
  says(one_tensor(good) + std::string("\0 ", 2), four, "line 1, column 55: not JSON: a zero byte");
  says("{\n\"a\":}", "", "line 2, column 5: not JSON");
  says("{\"a\xff\":1}", "", "not JSON");
  says(one_tensor(R"("dtype":NaN)"), "", "not JSON");
  // A tensor's members.
  for (const char* value : {"1", "null", "true", "-1", "1.5", "\"F32\"", "[]"})
    says(R"({"a":)" + std::string(value) + "}", "",
         "tensor \"a\": must be an object with dtype, shape and data_offsets");
  says(one_tensor(R"("shape":[1],"data_offsets":[0,4])"), four, "tensor \"a\": dtype is missing");
  says(one_tensor(R"("dtype":"F32","data_offsets":[0,4])"), four, "tensor \"a\": shape is missing");
  says(one_tensor(R"("dtype":"F32","shape":[1])"), four, "tensor \"a\": data_offsets is missing");
  says(one_tensor(R"("dtype":"F33","shape":[1],"data_offsets":[0,4])"), four, "found \"F33\"");
  says(one_tensor(R"("dtype":"f32","shape":[1],"data_offsets":[0,4])"), four, "found \"f32\"");
  says(one_tensor(R"("dtype":32,"shape":[1],"data_offsets":[0,4])"), four,
       "dtype must be one of safetensors' types, found 32");
  says(one_tensor(R"("dtype":"F32","shape":1,"data_offsets":[0,4])"), four,
       "shape must be a list of integers");
  says(one_tensor(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), four, "found -1");
  says(one_tensor(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), four, "found 1.0");
  says(one_tensor(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])"), four, "found a list");
  says(one_tensor(R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4])"), four,
       "found 9223372036854775808");
  // Names twice, also through an escape.
  says(R"({"a":{)" + good + R"(},"\u0061":{)" + good + "}}", four, "\"a\" occurs twice");
  says(one_tensor(good + R"(,"dtype":"F32")"), four, "tensor \"a\": dtype occurs twice");
  says(one_tensor(good + R"(,"shape":[1])"), four, "tensor \"a\": shape occurs twice");
  says(one_tensor(good + R"(,"data_offsets":[0,4])"), four, "tensor \"a\": data_offsets occurs twice");
  // Metadata.
  says(R"({"__metadata__":{"k":1}})", "", "__metadata__: \"k\" must be a text, found 1");
  says(R"({"__metadata__":{"k":null}})", "", "__metadata__: \"k\" must be a text, found null");
  says(R"({"__metadata__":{"k":{}}})", "", "__metadata__: \"k\" must be a text, found an object");
  says(R"({"__metadata__":[]})", "", "__metadata__ must map texts to texts, found a list");
  says(R"({"__metadata__":"pt"})", "", "__metadata__ must map texts to texts, found \"pt\"");
  says(R"({"__metadata__":null,"__metadata__":null})", "", "\"__metadata__\" occurs twice");
  says(R"({"__metadata__":{"k":"1","k":"1"}})", "", "__metadata__: the key \"k\" occurs twice");
  says(R"({"__metadata__":{},"__metadata__":{}})", "", "\"__metadata__\" occurs twice");
  // Sizes.
  says(one_tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), four,
       "tensor \"a\": shape [2] of F32 takes 8 bytes; data_offsets [0, 4] hold 4");
  says(one_tensor(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])"), "",
       "larger than any file");
  says(one_tensor(R"("dtype":"F64","shape":[1152921504606846976,2],"data_offsets":[0,0])"), "",
       "larger than any file");
  says(one_tensor(R"("dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0])"), "",
       "larger than any file");
  says(one_tensor(R"("dtype":"F4","shape":[3],"data_offsets":[0,1])"), "x",
       "takes 12 bits; expected whole bytes");
  says(one_tensor(R"("dtype":"F6_E2M3","shape":[2],"data_offsets":[0,1])"), "x", "takes 12 bits");
  says(one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[8,4])"), four,
       "tensor \"a\": data_offsets [8, 4] end before they begin");
  // Holes, overlaps, and the file's length.
  const std::string second = R"("b":{"dtype":"F32","shape":[1],"data_offsets":)";
  says(R"({"a":{)" + good + "}," + second + "[5,9]}}", four + four + "x",
       "tensor \"b\": data_offsets [5, 9] must begin at 4");
  says(R"({"a":{)" + good + "}," + second + "[3,7]}}", four + "xyz",
       "tensor \"b\": data_offsets [3, 7] must begin at 4");
  says(R"({"a":{)" + good + "}," + second + "[0,4]}}", four,
       "tensor \"b\": data_offsets [0, 4] must begin at 4");
  says(one_tensor(good), "",
       "expected 4 bytes of tensors after 62 of header, found 0; the file ends inside tensor \"a\"");
  says(one_tensor(good), four + "x", "expected 4 bytes of tensors after 62 of header, found 5");
  says("{}", "x", "expected 0 bytes of tensors after 10 of header, found 1");
  says(one_tensor(R"("dtype":"F32","shape":[1000,1000],"data_offsets":[0,4000000])"), four,
       "expected 4000000 bytes of tensors after 76 of header, found 4; the file ends inside tensor \"a\"");
  // What a terminal would not like.
  says(R"({"a\u001b[2J)" + std::string(500, 'a') + R"(":1})", "", "tensor \"a\\u001b[2Jaaa");
  CHECK(refusal(directory, raw_safetensors(R"({")" + std::string(100'000, 'a') + R"(":1})", "")).size() <
        500);
}

TEST_CASE("What the reference accepts is accepted") {
  const TemporaryDirectory directory;
  const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  for (const std::string& header : {
           one_tensor(good) + "     ",
           one_tensor(R"("data_offsets":[0,4],"shape":[1],"dtype":"F32")"),
           one_tensor(R"("dtype":"F32","shape":[],"data_offsets":[0,4])"),
           one_tensor(R"("dtype":"F4","shape":[8],"data_offsets":[0,4])"),
           one_tensor(good +
                      R"(,"x":1,"y":[{"dtype":[[]]},"z",null,-1,1.5,true],"w":{"shape":{"a":[]}},"v":null)"),
           R"({"__metadata__":{},"e":{"dtype":"F64","shape":[0],"data_offsets":[4,4]},"a":{)" + good +
               R"(},"d":{"dtype":"F64","shape":[0],"data_offsets":[0,0]}})",
           R"({"__metadata__":null,"a":{)" + good + "}}",  // as mlx writes it
           R"({"a":{)" + good + R"(},"__metadata__": null })",
           one_tensor(R"("dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]},"b":{)" + good),
       }) {
    INFO(header);
    CHECK(refusal(directory, raw_safetensors(header, four)) == "nothing was thrown");
  }
}

TEST_CASE("A hostile header costs neither memory nor stack") {
  const TemporaryDirectory directory;
  const std::string open = one_tensor(R"("x":)" + std::string(5'000'000, '['));
  CHECK_THAT(refusal(directory, raw_safetensors(open, "")), Contains("not JSON"));
  std::string extents = "0";
  for (int i = 0; i < 1'000'000; ++i) extents += ",0";
  CHECK_THAT(
      refusal(directory, raw_safetensors(one_tensor(R"("dtype":"F32","shape":[)" + extents + "]"), "")),
      Contains("tensor \"a\": more than 64 extents"));
}
