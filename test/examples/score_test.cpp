// Runs the program `score` (examples/score.cpp) as a user does.
#include <cmath>
#include <sstream>

#include "examples/model_files.hpp"
#include "examples/program.hpp"
#include "support/catch.hpp"
#include "text/tokenizers.hpp"

using namespace midus;
using namespace midus::test;

namespace {

/// The odd model with a tokenizer whose tokens are the bytes.
struct Fixture {
  Fixture() {
    write_odd_model(directory / "model");
    put_file(
        directory / "model/tokenizer.json",
        R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "decoder": {"type": "ByteLevel"},
                 "model": {"vocab": )" +
            byte_vocabulary() + R"(, "merges": []}})");
  }
  Json score(const std::string& arguments) const {
    const ProgramResult result = run_in(directory, MIDUS_SCORE, "model --json score.json " + arguments);
    INFO(result.error);
    CHECK(result.status == 0);
    return read_json_file(directory / "score.json");
  }
  std::string error(const std::string& arguments) const {
    const ProgramResult result = run_in(directory, MIDUS_SCORE, "model " + arguments);
    CHECK(result.status == 1);
    return result.error;
  }
  const TemporaryDirectory directory;
};

}  // namespace

TEST_CASE_METHOD(Fixture,
                 "score: the perplexity of documents is that of their bytes, from the first one on") {
  put_file(directory / "docs.jsonl", "{\"text\": \"In the beginning\"}\n{\"text\": \"x\\ny z\"}\n");
  const Json both = score("--perplexity docs.jsonl --prefix 10")[0];
  CHECK(both["documents"] == 2);
  // The same by `evaluate`, which predicts all but a file's first token.
  std::filesystem::remove(directory / "model/tokenizer.json");
  double nats = 0;
  for (const std::string text : {"\nIn the beginning", "\nx\ny z"}) {
    write_bytes(directory / "text.bin", text);
    const ProgramResult evaluated =
        run_in(directory, std::filesystem::path(MIDUS_SCORE).parent_path() / "evaluate",
               "model --data d=text.bin --length 64 --json evaluate.json");
    REQUIRE(evaluated.status == 0);
    const Json result = read_json_file(directory / "evaluate.json")["results"][0];
    nats += result["loss"].get<double>() * result["tokens"].get<double>();
  }
  CHECK(both["bits_per_byte"].get<double>() == Approx(nats / (16 + 5) / std::log(2)).epsilon(1e-5));
  CHECK(both["word_perplexity"].get<double>() == Approx(std::exp(nats / (3 + 3))).epsilon(1e-5));
  CHECK(both["byte_perplexity"].get<double>() == Approx(std::exp(nats / 21)).epsilon(1e-5));
  CHECK(both["bits_per_byte_stderr"].get<double>() > 0);
}

TEST_CASE_METHOD(Fixture, "score: windows of a long document, in any batch") {
  std::string text;
  for (int i = 0; i < 150; ++i) text += static_cast<char>('a' + i * i % 26);
  put_file(directory / "docs.jsonl", "{\"text\": \"" + text + "\"}\n");
  const double one = score("--perplexity docs.jsonl --prefix 10 --length 20 --batch 1")[0]["bits_per_byte"];
  const double many = score("--perplexity docs.jsonl --prefix 10 --length 20 --batch 5")[0]["bits_per_byte"];
  const double longer = score("--perplexity docs.jsonl --prefix 10")[0]["bits_per_byte"];
  CHECK(one == Approx(many).epsilon(1e-6));
  CHECK(longer != Approx(one).epsilon(1e-6));
}

TEST_CASE_METHOD(Fixture, "score: multiple choice") {
  // A choice that is another one's beginning is more probable, whatever the model.
  put_file(directory / "mc.jsonl", R"({"context": "a b", "choices": ["cd", "cdefg"], "answer": 0})"
                                   "\n"
                                   R"({"context": "", "choices": ["x", "xyz"], "answer": 1})"
                                   "\n");
  const Json result = score("--multiple-choice mc.jsonl --prefix 10")[0];
  CHECK(result["questions"] == 2);
  CHECK(result["acc"] == 0.5);
  CHECK(result["acc_stderr"].get<double>() == Approx(0.5));
  CHECK(score("--multiple-choice mc.jsonl --prefix 10 --limit 1")[0]["acc"] == 1);
}

TEST_CASE_METHOD(Fixture, "score: choices that begin alike, in any batch, and what each is worth") {
  put_file(directory / "mc.jsonl",
           R"({"context": "one two", "choices": ["three", "threefold", "thr"], "answer": 2})"
           "\n"
           R"({"context": "Answer: ", "choices": ["yes", "no"], "answer": 0})"
           "\n");
  const auto samples = [&](const std::string& arguments) {
    score("--multiple-choice mc.jsonl --prefix 10 --samples samples.jsonl " + arguments);
    const std::string bytes = file_bytes(directory / "samples.jsonl");
    return std::pair{parse_json(bytes.substr(0, bytes.find('\n')), "1"),
                     parse_json(bytes.substr(bytes.find('\n') + 1), "2")};
  };
  const auto [first, second] = samples("--batch 1");
  const auto& of_choices = first["log_likelihoods"];
  REQUIRE(of_choices.size() == 3);
  CHECK(of_choices[2].get<double>() > of_choices[0].get<double>());
  CHECK(of_choices[0].get<double>() > of_choices[1].get<double>());
  const auto [again, again_second] = samples("--batch 16");
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(again["log_likelihoods"][i].get<double>() == Approx(of_choices[i].get<double>()).epsilon(1e-5));
  const auto same = samples("--batch 16");  // and the same bits each time
  CHECK(same.first == again);
  CHECK(same.second == again_second);
  // The blank at the context's end belongs to the continuation, with or without a delimiter.
  put_file(directory / "mc.jsonl", R"({"context": "Answer:", "choices": ["yes", "no"], "answer": 0})");
  score("--multiple-choice mc.jsonl --prefix 10 --samples samples.jsonl");
  const Json moved = parse_json(file_bytes(directory / "samples.jsonl"), "1");
  put_file(directory / "mc.jsonl", R"({"context": "Answer: ", "choices": ["yes", "no"], "answer": 0})");
  score("--multiple-choice mc.jsonl --prefix 10 --delimiter '' --samples samples.jsonl");
  CHECK(parse_json(file_bytes(directory / "samples.jsonl"), "1") == moved);
}

TEST_CASE_METHOD(Fixture, "score: the token that begins a text", "[EV-04]") {
  put_file(directory / "docs.jsonl", "{\"text\": \"abc\"}\n");
  const auto loss = [&](const std::string& arguments) {
    return score("--perplexity docs.jsonl " + arguments)[0]["bits_per_byte"].get<double>();
  };
  const auto said = [&] { return file_bytes(directory / "stdout.log"); };
  const double from_a = loss("--prefix 97"), from_b = loss("--prefix 98");
  CHECK(from_a != from_b);  // the first token is scored too
  put_file(directory / "model/tokenizer_config.json", R"({"bos_token": "a", "eos_token": {"content": "b"}})");
  CHECK(loss("") == from_a);
  CHECK(contains(said(), "a text begins with the token 97 (\"a\")"));
  put_file(directory / "model/tokenizer_config.json",
           R"({"bos_token": null, "eos_token": {"content": "b"}})");
  CHECK(loss("") == from_b);
  put_file(directory / "model/tokenizer_config.json", R"({"eos_token": "<eos>"})");
  CHECK(
      contains(error("--perplexity docs.jsonl"), "tokenizer_config.json: \"eos_token\" must be a token of"));
  put_file(directory / "model/tokenizer_config.json", "{}");
  CHECK(contains(error("--perplexity docs.jsonl"), "say with --prefix"));
  Json config = read_json_file(directory / "model/config.json");
  config["eos_token_id"] = {98, 99};
  put_file(directory / "model/config.json", config.dump());
  CHECK(loss("") == from_b);
  config["bos_token_id"] = 97;
  put_file(directory / "model/config.json", config.dump());
  CHECK(loss("") == from_a);
}

TEST_CASE_METHOD(Fixture, "score: words and bytes may be those of another text") {
  put_file(directory / "docs.jsonl", R"({"text": "abc", "page": "a @-@ b c"})");
  const double own = score("--perplexity docs.jsonl --prefix 10")[0]["bits_per_byte"];
  const double page = score("--perplexity docs.jsonl --prefix 10 --counted-field page")[0]["bits_per_byte"];
  CHECK(page == Approx(own * 3 / 9));
}

TEST_CASE_METHOD(Fixture, "score: what cannot be scored is said") {
  put_file(directory / "docs.jsonl", "{\"text\": \"a\"}\n{\"txt\": 1}\n");
  put_file(directory / "mc.jsonl", R"({"context": "a", "choices": ["b"], "answer": 1})");
  CHECK(contains(error("--prefix 0"), "give --perplexity or --multiple-choice"));
  CHECK(contains(error("--perplexity docs.jsonl"), "neither bos_token_id nor eos_token_id"));
  CHECK(contains(error("--perplexity docs.jsonl --prefix 256"), "expected an id below 256"));
  CHECK(contains(error("--perplexity docs.jsonl --prefix 1"), "docs.jsonl, line 2: \"text\" is missing"));
  CHECK(contains(error("--multiple-choice mc.jsonl --prefix 1"), "an integer from 0 to 0, found 1"));
  CHECK(contains(error("--perplexity none --prefix 1"), "none"));
  put_file(directory / "mc.jsonl", R"({"context": "a", "choices": [], "answer": 0})");
  CHECK(contains(error("--multiple-choice mc.jsonl --prefix 1"), "at least one choice"));
  put_file(directory / "mc.jsonl",
           "\n"
           R"({"context": "a", "choices": ["b", ""], "answer": 0})");
  CHECK(contains(error("--multiple-choice mc.jsonl --prefix 1"),
                 "mc.jsonl, line 2: \"choices\" must be choices of at least one character each, found"));
  put_file(directory / "docs.jsonl", "{\"text\": \"\"}\n\n{\"text\": \"\"}\n");
  CHECK(contains(error("--perplexity docs.jsonl --prefix 1"), "docs.jsonl: every document is empty"));
  put_file(directory / "docs.jsonl", "\n[1]\n");
  CHECK(contains(error("--perplexity docs.jsonl --prefix 1"),
                 "docs.jsonl, line 2: a line must be an object {...}, found [1]"));
  put_file(directory / "docs.jsonl", "{\"text\": \"a\"}\n");
  CHECK(contains(error("--perplexity docs.jsonl --prefix 1 --samples none/s"), "there is no directory none"));
  CHECK(contains(error("--perplexity docs.jsonl --prefix 1 --json docs.jsonl"), "would replace"));
  CHECK_FALSE(contains(file_bytes(directory / "stdout.log"), "begins with"));  // before the work
  CHECK(contains(run_in(directory, MIDUS_SCORE, "--help").out, "(default: one blank)"));
  CHECK(contains(error("--perplexity docs.jsonl --prefix 1 --length 65"), "max_position_embeddings"));
  // A mistake in the second file costs no work on the first.
  put_file(directory / "mc.jsonl",
           "\n"
           R"({"context": "a", "choices": ["b", ")" +
               std::string(70, 'x') + R"("], "answer": 1})");
  const std::string longer = error("--perplexity docs.jsonl --multiple-choice mc.jsonl --prefix 1");
  CHECK(contains(longer, "score: mc.jsonl, line 2: the continuation \" xxx"));
  CHECK(contains(longer, "has 71 tokens, and the model reads 64 at most"));
  CHECK_FALSE(contains(longer, "scored"));
  std::filesystem::remove(directory / "model/tokenizer.json");
  CHECK(contains(error("--perplexity docs.jsonl --prefix 1"), "score: model has no tokenizer.json"));
}

TEST_CASE_METHOD(Fixture, "score: samples say what was asked, what was taken and what was right") {
  put_file(directory / "docs.jsonl", "{\"text\": \"abc d\"}\n\n{\"text\": \"é\"}\n");
  put_file(directory / "mc.jsonl", R"({"context": "one", "choices": ["two", "twofold"], "answer": 1})"
                                   "\n"
                                   R"({"context": "a longer one", "choices": ["x"], "answer": 0})"
                                   "\n");
  const Json results = score(
      "--perplexity docs.jsonl --multiple-choice mc.jsonl --prefix 10 --samples samples.jsonl --length 12");
  CHECK(results[1]["contexts_cut"] == 1);
  CHECK(contains(file_bytes(directory / "stdout.log"), "of 1 questions the context was cut on the left"));
  std::istringstream lines(file_bytes(directory / "samples.jsonl"));
  std::vector<Json> samples;
  for (std::string line; std::getline(lines, line);) samples.push_back(parse_json(line, "samples.jsonl"));
  REQUIRE(samples.size() == 4);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(samples[i].at("file") == "docs.jsonl");
    CHECK(samples[i].at("index") == i);
    CHECK(samples[i].at("log_likelihood").get<double>() < 0);
    CHECK(samples[i + 2].at("file") == "mc.jsonl");
    CHECK(samples[i + 2].at("index") == i);
  }
  CHECK(samples[0].at("tokens") == 5);
  CHECK(samples[0].at("words") == 2);
  CHECK(samples[1].at("bytes") == 2);
  CHECK(samples[2].at("choices") == Json{"two", "twofold"});
  CHECK(samples[2].at("tokens") == Json{4, 8});  // with the blank before them
  CHECK(samples[2].at("cut") == Json{0, 0});
  CHECK(samples[2].at("chosen") == 0);  // the other one's beginning
  CHECK(samples[2].at("answer") == 1);
  CHECK(samples[2].at("chosen_per_character").is_number_integer());
  CHECK(samples[3].at("cut") == Json{1});  // 12 of the context and 2 scored, of which the last is no input
}

TEST_CASE_METHOD(Fixture, "score: a byte without a token is named with its line") {
  Json tokenizer = read_json_file(directory / "model/tokenizer.json");
  Json vocab = Json::object();
  for (const auto& [token, id] : tokenizer["model"]["vocab"].items())
    if (token != to_byte_characters("\x14")) vocab[token] = id;
  tokenizer["model"]["vocab"] = vocab;
  put_file(directory / "model/tokenizer.json", dump_json(tokenizer));
  put_file(directory / "docs.jsonl", "{\"text\": \"abc\"}\n{\"text\": \"a\\u0014b\"}\n");
  put_file(directory / "mc.jsonl", R"({"context": "a\u0014", "choices": ["b", "c"], "answer": 0})");
  const std::string what = "the vocabulary has no token for the byte 0x14";
  CHECK(contains(error("--perplexity docs.jsonl --prefix 1"), "score: docs.jsonl, line 2: " + what));
  CHECK(contains(error("--multiple-choice mc.jsonl --prefix 1"), "score: mc.jsonl, line 1: " + what));
}

TEST_CASE_METHOD(Fixture, "score: files whose names are no UTF-8") {
  put_file(directory / "caf\xe9.jsonl", "{\"text\": \"abc\"}\n");
  CHECK(score("--perplexity caf\xe9.jsonl --prefix 1 --samples samples.jsonl")[0]["file"] ==
        "caf\xef\xbf\xbd.jsonl");
  CHECK(parse_json(file_bytes(directory / "samples.jsonl"), "samples.jsonl")["file"] ==
        "caf\xef\xbf\xbd.jsonl");
}

TEST_CASE_METHOD(Fixture, "score: one document or question has no standard error") {
  put_file(directory / "docs.jsonl", "{\"text\": \"abc\"}\n");
  put_file(directory / "mc.jsonl", R"({"context": "a", "choices": ["b", "c"], "answer": 1})");
  const Json both = score("--perplexity docs.jsonl --multiple-choice mc.jsonl --prefix 1");
  for (const char* const name : {"word_perplexity_stderr", "byte_perplexity_stderr", "bits_per_byte_stderr"})
    CHECK(both[0].at(name).is_null());
  CHECK(both[1].at("acc_stderr").is_null());
  CHECK(both[1].at("acc_norm_stderr").is_null());
  CHECK(contains(file_bytes(directory / "stdout.log"), "(no standard error of one)\n"));
}
