// Any bytes as config.json: refused with an Error, or a configuration that comes back the same when it is
// written.
#include "fuzz.hpp"
#include "midus/io/llama_config_reader.hpp"
#include "midus/io/llama_config_writer.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  midus::LlamaConfig config;
  if (!midus::fuzz::accepts([&] {
        config = midus::parse_llama_config(midus::parse_json(bytes, "config.json"), "config.json");
      }))
    return 0;
  midus::fuzz::require(config.hidden_size > 0 && config.head_dim % 2 == 0 &&
                       config.num_attention_heads % config.num_key_value_heads == 0);
  const midus::Json written = midus::to_json(config);
  midus::Json expected = config.original;  // nothing changed, so nothing is to change
  if (config.memory && !expected.contains("auto_map")) expected["auto_map"] = written.at("auto_map");
  midus::fuzz::require(midus::dump_json(written) ==
                       midus::dump_json(expected));  // as text: a NaN may be in it
  const midus::LlamaConfig again =
      midus::parse_llama_config(midus::parse_json(midus::dump_json(written), "again"), "again");
  midus::fuzz::require(midus::shape_key(again) == midus::shape_key(config) && again.rope == config.rope &&
                       again.memory == config.memory && again.history == config.history);
  return 0;
}
