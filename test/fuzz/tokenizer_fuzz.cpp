// Any bytes as tokenizer.json: refused with an Error, or a tokenizer that encodes and decodes a text, or says
// why it cannot.
#include "fuzz.hpp"
#include "midus/tokenizer.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  midus::fuzz::accepts([&] {
    const midus::Json json = midus::parse_json(bytes, "tokenizer.json");
    const midus::Tokenizer tokenizer = midus::detail::TokenizerReader(json, "tokenizer.json").read();
    midus::TextEncoder encode(tokenizer);
    const std::vector<std::int32_t> ids =
        encode("In the  beginning, 12\n\xc3\xa9 <|a|> aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xff");
    midus::TextStream stream(tokenizer);
    std::string text;
    for (const std::int32_t id : ids) text += stream.push(id);
    text += stream.finish();
    midus::fuzz::require(midus::is_utf8(text) && midus::is_utf8(tokenizer.decode(ids)));
  });
  return 0;
}
