// Runs examples/build_for.sh as a user does.
#include <filesystem>

#include "examples/model_files.hpp"
#include "examples/program.hpp"
#include "support/catch.hpp"

using namespace midus;
using namespace midus::test;

namespace {

const std::string script = MIDUS_SOURCE_DIR "/examples/build_for.sh";

struct Fixture {
  Fixture() { write_odd_model(directory / "model"); }
  ProgramResult run(const std::string& arguments) const {
    // Debug: what is tested is the script, and this compiles faster.
    return run_in(directory, "env", "MIDUS_BUILD_TYPE=Debug bash '" + script + "' " + arguments);
  }
  std::string error(const std::string& arguments) const {
    const ProgramResult result = run(arguments);
    CHECK(result.status == 1);
    CHECK(result.out.empty());
    return result.error;
  }
  const TemporaryDirectory directory;
};

}  // namespace

TEST_CASE_METHOD(Fixture, "build_for: what is missing is said") {
  std::filesystem::create_directory(directory / "empty");
  CHECK(error("") == "build_for.sh: give the directory of a model; see --help\n");
  CHECK(error("none") ==
        "build_for.sh: there is no directory none; a hub's model is fetched first: hf download NAME "
        "--local-dir "
        "DIRECTORY\n");
  CHECK(error("empty") == "build_for.sh: empty holds no config.json\n");
  CHECK(error("model model") == "build_for.sh: one directory at a time, found model and model\n");
  CHECK(contains(error("model --into"), "--into needs a value"));
  CHECK(contains(error("model --fast"), "unknown option --fast"));
  const ProgramResult help = run("--help");
  CHECK(help.status == 0);
  CHECK(contains(help.out, "bash examples/build_for.sh DIRECTORY [--into FOLDER]"));
  CHECK_FALSE(contains(help.out, "set -"));
  const ProgramResult no_compiler =
      run_in(directory, "env", "CXX=no-such-compiler bash '" + script + "' model");
  CHECK(no_compiler.status == 1);
  CHECK(no_compiler.error ==
        "build_for.sh: there is no compiler no-such-compiler: install g++, or set CXX\n");
}

TEST_CASE_METHOD(Fixture, "build_for: builds elsewhere where the repository may not be written to") {
  std::filesystem::create_directory(directory / "bin");
  put_file(directory / "bin/cmake", "#!/bin/sh\necho \"$@\" >> cmake.log\nexit 1\n");
  std::filesystem::permissions(directory / "bin/cmake", std::filesystem::perms::owner_all);
  const std::string command = "PATH=\"$PWD/bin:$PATH\" MIDUS_PROGRAMS=";
  CHECK(contains(run_in(directory, "env", command + "built bash '" + script + "' model --into here").error,
                 "cannot configure midus"));
  CHECK(contains(file_bytes(directory / "cmake.log"), "/built/.build/generator-"));
  CHECK(run_in(directory, "env", command + "/proc/none bash '" + script + "' model").error ==
        "build_for.sh: cannot write to /proc/none; MIDUS_PROGRAMS names another folder for what is built\n");
  // A copy that is somebody else's stands for a shared one.
  std::filesystem::create_directories(directory / "shared/examples");
  std::filesystem::copy_file(script, directory / "shared/examples/build_for.sh");
  put_file(directory / "shared/build", "");  // so there can be no folder in it, for root neither
  run_in(directory, "env",
         "PATH=\"$PWD/bin:$PATH\" HOME=\"$PWD/home\" bash shared/examples/build_for.sh model");
  CHECK(contains(file_bytes(directory / "cmake.log"), "/home/.cache/midus/"));
}

TEST_CASE_METHOD(Fixture, "build_for: a config.json that is refused is named with the rule", "[builds]") {
  Json json = read_json_file(odd_config / "config.json");
  json["midus"]["top_k"] = 6;
  put_file(directory / "model/config.json", json.dump());
  CHECK(
      contains(error("model"),
               "build_for.sh: model/config.json: \"midus.top_k\" must be an integer from 1 to 5, found 6\n"));
}

TEST_CASE_METHOD(Fixture, "build_for: two at once, then nothing to do", "[builds]") {
  const ProgramResult both =
      run_in(directory, "sh",
             "-c 'export MIDUS_BUILD_TYPE=Debug; bash \"" + script +
                 "\" model --into one > one.log 2>&1 & "
                 "bash \"" +
                 script + "\" model --into \"with a blank\" > two.log 2>&1 && wait $!'");
  INFO(file_bytes(directory / "one.log") << file_bytes(directory / "two.log"));
  REQUIRE(both.status == 0);
  for (const char* const folder : {"one", "with a blank"}) {
    const std::filesystem::path program = directory / folder / "sample";
    const auto built = std::filesystem::last_write_time(program);
    const ProgramResult text = run_in(directory, program.string(), "model --prompt x --max-tokens 2");
    CHECK(text.status == 0);
    CHECK(text.out.size() == 4);  // and a line feed
    const ProgramResult again = run("model --into '" + std::string(folder) + "'");
    CHECK(again.status == 0);
    CHECK(again.out == program.parent_path().string() + "\n");  // the last line, and the only one
    CHECK(std::filesystem::last_write_time(program) == built);
  }
  // Without --into: a folder of the shape's.
  const ProgramResult shared = run("model");
  CHECK(shared.out == MIDUS_SOURCE_DIR
        "/build/programs/v256-d36-l3-h6-kv2-hd6-f20-tied-hml-n5-k3-r7-at0.2-debug\n");
  CHECK(contains(run_in(directory, "env", "MIDUS_BUILD_TYPE=Fast bash '" + script + "' model").error,
                 "MIDUS_BUILD_TYPE must be Release or Debug, found Fast"));
}
