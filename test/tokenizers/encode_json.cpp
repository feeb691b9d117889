// Encodes texts with a tokenizer.json, for check.py beside this file:
//
//     encode_json TOKENIZER_JSON < texts.json > tokens.json
//
// texts.json is a list of texts; tokens.json a list of {"ids": ..., "plain": ids without special tokens,
// "text": decoded ids, "stream": the same token by token}. With --time it encodes a file instead, and prints
// seconds. For pre_tokenizers.py, `encode_json --pre-tokenizers` reads {"tokenizer": ..., "pre_tokenizers":
// [...], "texts": [...]} and writes for each pre-tokenizer, put into the tokenizer, a list of {"pieces": ...,
// "ids": ...} by text, or what is wrong with it.
#include <chrono>
#include <iostream>
#include <iterator>

#include "midus/tokenizer.hpp"

namespace {

using namespace midus;

std::string streamed(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids) {
  TextStream stream(tokenizer, false);
  std::string text;
  for (const std::int32_t id : ids) text += stream.push(id);
  return text + stream.finish();
}

int time_file(const Tokenizer& tokenizer, const std::string& path) {
  const MappedFile file(path);
  const std::string_view text = file.text();
  double best = 1e9;
  std::size_t tokens = 0;
  for (int round = 0; round < 5; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    TextEncoder encode(tokenizer);
    tokens = encode(text).size();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::cout << best << " " << tokens << "\n";
  return 0;
}

Json cut_and_encoded(const Json& tokenizer_json, const Json& texts) {
  try {
    const Tokenizer tokenizer = detail::TokenizerReader(tokenizer_json, "tokenizer.json").read();
    TextEncoder encode(tokenizer);
    PreTokenizer pre_tokenize(tokenizer.pre_tokenizer);
    Json results = Json::array();
    for (const Json& text : texts) {
      Json pieces = Json::array();
      pre_tokenize(text.get<std::string>(), true, [&](std::string_view piece) {
        pieces.push_back(tokenizer.model.byte_level ? to_byte_characters(piece) : std::string(piece));
      });
      results.push_back({{"pieces", pieces}, {"ids", encode(text.get<std::string>(), false)}});
    }
    return results;
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc == 2 && std::string(argv[1]) == "--pre-tokenizers") {
    const std::string input{std::istreambuf_iterator<char>(std::cin), {}};
    const Json task = parse_json(input, "the standard input", {.bytes = std::size_t{1} << 30});
    Json tokenizer = task.at("tokenizer"), results = Json::array();
    for (const Json& pre_tokenizer : task.at("pre_tokenizers")) {
      tokenizer["pre_tokenizer"] = pre_tokenizer;
      results.push_back(cut_and_encoded(tokenizer, task.at("texts")));
    }
    std::cout << results.dump() << "\n";
    return 0;
  }
  if (argc != 2 && !(argc == 4 && std::string(argv[2]) == "--time"))
    fail("usage: encode_json TOKENIZER_JSON [--time FILE]");
  const Tokenizer tokenizer = read_tokenizer(argv[1]);
  if (argc == 4) return time_file(tokenizer, argv[3]);
  const std::string input{std::istreambuf_iterator<char>(std::cin), {}};
  const Json texts = parse_json(input, "the standard input", {.bytes = std::size_t{1} << 30});
  TextEncoder encode(tokenizer);
  std::cout << "[";
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string text = texts[i].get<std::string>();
    const std::vector<std::int32_t> ids = encode(text);
    Json result;
    result["ids"] = ids;
    result["plain"] = encode(text, false);
    result["text"] = tokenizer.decode(ids, false);
    result["stream"] = streamed(tokenizer, ids);
    std::cout << (i > 0 ? ",\n" : "\n") << result.dump();
  }
  std::cout << "]\n";
} catch (const std::exception& error) {
  std::cerr << "encode_json: " << error.what() << "\n";
  return 1;
}
