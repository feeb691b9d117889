// Text to tokens and back: tokenizer.json of the BPE kind (needs PCRE2 and nlohmann-json).
#pragma once

#include "midus/text/bpe_trainer.hpp"
#include "midus/text/chat_template.hpp"
#include "midus/text/documents.hpp"
#include "midus/text/scoring.hpp"
#include "midus/text/tokenizer.hpp"
#include "midus/text/tokenizer_reader.hpp"
