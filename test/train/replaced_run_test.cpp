#include "midus/train/replaced_run.hpp"

#include <map>
#include <string>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using midus::test::file_bytes;
using midus::test::message_of;
using midus::test::put_file;
using midus::test::TemporaryDirectory;

namespace {

void put(const std::filesystem::path& path) {
  std::filesystem::create_directories(path.parent_path());
  put_file(path, path.filename().string());
}

/// A finished run, and a note of its user's.
void put_run(const TemporaryDirectory& run) {
  for (const char* const name :
       {"step-00000003/trainer.json", "step-00000004/trainer.json", "final/config.json", "log.jsonl",
        "log.csv", "evaluations.jsonl", "notes.txt"})
    put(run / name);
  std::filesystem::create_directory_symlink("step-00000003", run / "best");
}

std::map<std::string, std::string> contents(const std::filesystem::path& directory) {
  std::map<std::string, std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    found[entry.path().lexically_relative(directory).string()] = entry.is_symlink() ? "a link"
                                                                 : entry.is_regular_file()
                                                                     ? file_bytes(entry.path())
                                                                     : "a directory";
  return found;
}

}  // namespace

TEST_CASE("A run that is replaced comes back where nothing came of the new one") {
  const TemporaryDirectory run;
  put_run(run);
  const auto before = contents(run.path());
  set_aside_run(run.path());
  CHECK_FALSE(holds_run(run.path()));
  CHECK(file_bytes(run / "notes.txt") == "notes.txt");
  settle_replaced_run(run.path());
  CHECK(contents(run.path()) == before);

  // The new one ends, or is killed, before it has done a step.
  set_aside_run(run.path());
  put(run / "rehearsal/trainer.json");
  put(run / "log.jsonl");
  settle_replaced_run(run.path());
  CHECK(holds_run_without_result(run.path()));
  put(run / "step-00000000/trainer.json");  // before the first step: still no reason to remove a result
  settle_replaced_run(run.path());
  remove_run_without_result(run.path());
  settle_replaced_run(run.path());
  CHECK(contents(run.path()) == before);

  // A crash while the old one is moved.
  set_aside_run(run.path());
  for (const auto& entry : std::filesystem::directory_iterator(run.path()))
    if (entry.path().filename().string().starts_with("replaced-")) {
      std::filesystem::rename(entry.path() / "log.jsonl", run / "log.jsonl");
      std::filesystem::rename(entry.path(), entry.path().string() + ".tmp");
      break;
    }
  settle_replaced_run(run.path());
  CHECK(contents(run.path()) == before);

  // The new one was killed before its first checkpoint: who comes next finds the old one.
  set_aside_run(run.path());
  put(run / "rehearsal/trainer.json");
  put(run / "log.jsonl");
  give_up_replacement(run.path());
  CHECK(contents(run.path()) == before);
  give_up_replacement(run.path());
  CHECK(contents(run.path()) == before);

  // A crash while it was moved back: the rest follows.
  set_aside_run(run.path());
  for (const auto& entry : std::filesystem::directory_iterator(run.path()))
    if (entry.path().filename().string().starts_with("replaced-")) {
      std::filesystem::rename(entry.path(), entry.path().string() + ".tmp");
      std::filesystem::rename(entry.path().string() + ".tmp/step-00000003", run / "step-00000003");
      break;
    }
  settle_replaced_run(run.path());
  CHECK(contents(run.path()) == before);

  // And there is a checkpoint of the new one.
  set_aside_run(run.path());
  put(run / "step-00000001/trainer.json");
  for (const char* const name : {"replaced-by-me/file", "replaced-2024/file", "replaced-7.tmp/file"})
    put(run / name);
  settle_replaced_run(run.path());
  CHECK(contents(run.path()).size() == 9);
  for (const char* const name : {"replaced-by-me/file", "replaced-2024/file", "replaced-7.tmp/file"})
    CHECK(file_bytes(run / name) == "file");
}

TEST_CASE("Resuming needs a checkpoint, or nothing that could be lost") {
  const TemporaryDirectory run;
  const auto refuses = [&](const char* what) {
    CHECK_THAT(why_not_resume(run.path()), Catch::Contains(what) && Catch::Contains("--force"));
  };
  CHECK(why_not_resume(run / "none") == "");
  put(run / "notes.txt");
  CHECK(why_not_resume(run.path()) == "");
  put(run / "log.jsonl");
  refuses("holds the logs of a run and no checkpoint");
  put(run / "rehearsal/trainer.json");  // it ended before its first checkpoint
  CHECK(why_not_resume(run.path()) == "");
  put(run / "final/config.json");
  refuses("holds the result of a run (");
  put(run / "step-00000007/model.safetensors");
  refuses("step-00000007 has no trainer.json, so it is half a checkpoint");
  CHECK(holds_run(run.path()));
  put(run / "step-00000005/trainer.json");
  CHECK(why_not_resume(run.path()) == "");
}
