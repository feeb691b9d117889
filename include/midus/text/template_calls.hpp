// The functions, methods, filters and tests that chat templates call.
#pragma once

#include <cstddef>
#include <ctime>
#include <string>
#include <string_view>

#include "midus/core/shape.hpp"
#include "midus/io/json.hpp"
#include "midus/text/template_values.hpp"
#include "midus/text/utf8.hpp"

namespace midus::detail {

/// By name, with a list of arguments. One argument too many is refused: it would have changed the text.
struct TemplateCalls : TemplateValues {
  void take_at_most(std::size_t most, const Json& values, const std::string& what) const {
    if (values.size() > most) refuse(text(what, " with ", values.size(), " arguments"));
  }

  /// What is defined although no variable: transformers' functions and Jinja's.
  static bool is_function(std::string_view called) {
    for (const std::string_view each :
         {"raise_exception", "strftime_now", "namespace", "range", "dict", "cycler", "joiner", "lipsum"})
      if (called == each) return true;
    return false;
  }
  Json function(const std::string& called, const Json& values, const Json& named) {
    const std::string what = "the function " + called;
    if (called == "namespace" || called == "dict") return take_at_most(0, values, what), named;
    if (!named.empty()) refuse(what + " with " + named.begin().key());
    if (called == "raise_exception") return raise(values.empty() ? "it raises an error" : string(values[0]));
    if (called == "range") return range(values);
    if (called == "strftime_now" && values.size() == 1) {
      const std::time_t now = std::time(nullptr);
      std::tm parts{};
      char out[256];
      const std::string form = string(values[0]);
      const std::size_t size = std::strftime(out, sizeof out, form.c_str(), localtime_r(&now, &parts));
      if (size == 0 && !form.empty()) return raise("strftime_now is asked for too long a text");
      return std::string(out, size);
    }
    refuse(what);
  }
  Json range(const Json& values) {
    take_at_most(3, values, "the function range");
    for (const Json& each : values)
      if (!each.is_number_integer()) return raise("range wants whole numbers");
    if (values.empty()) return raise("range wants whole numbers");
    const auto number = [&](std::size_t i) { return values[i].get<Index>(); };
    const Index begin = values.size() > 1 ? number(0) : 0, end = number(values.size() > 1 ? 1 : 0),
                step = values.size() > 2 ? number(2) : 1;
    constexpr Index most = Index{1} << 31;  // numbers of templates, and so without overflow
    for (const Index each : {begin, end, step})
      if (each > most || each < -most) return raise("a number is too large");
    if (step == 0) return raise("range with steps of zero");
    Json items = Json::array();
    for (Index i = begin; step > 0 ? i < end : i > end; i += step) {
      if (items.size() == 100'000) return raise("range is longer than 100000");  // as Jinja's
      items.push_back(charged(i));
    }
    return items;
  }

  /// A method of Python's texts and dictionaries.
  Json method(const Json& value, const std::string& called, const Json& values) {
    const std::string what = "the method " + called;
    if (value.is_discarded()) return raise(what + " of what is not defined");
    if (value.is_object()) {
      if (called == "get" && !values.empty()) {
        take_at_most(2, values, what);
        const Json* const found = member(value, values[0]);
        return found != nullptr ? charged(*found) : values.size() > 1 ? values[1] : Json();
      }
      if (called != "items" && called != "keys" && called != "values") refuse(what);
      take_at_most(0, values, what);
      Json items = Json::array();
      for (auto item = value.begin(); item != value.end(); ++item)
        items.push_back(charged(called == "items"  ? Json::array({item.key(), *item})
                                : called == "keys" ? Json(item.key())
                                                   : *item));
      return items;
    }
    if (!value.is_string()) refuse(what);
    const std::string& self = value.get_ref<const std::string&>();
    if (called == "strip" || called == "lstrip" || called == "rstrip") {
      take_at_most(1, values, what);
      return stripped(self, values.empty() ? Json() : values[0], called != "rstrip", called != "lstrip");
    }
    if (called == "upper" || called == "lower" || called == "title" || called == "capitalize")
      return take_at_most(0, values, what), cased(self, called, true);
    if (values.empty() || !values[0].is_string()) refuse(what + " without a text");
    const std::string& first = values[0].get_ref<const std::string&>();
    if (called == "startswith") return take_at_most(1, values, what), self.starts_with(first);
    if (called == "endswith") return take_at_most(1, values, what), self.ends_with(first);
    if (called == "split" && !first.empty()) return split(self, first, values);
    if (called == "replace" && values.size() == 2 && values[1].is_string() && !first.empty())
      return replaced(self, first, string(values[1]));
    refuse(what);
  }
  Json split(const std::string& self, const std::string& by, const Json& values) {
    take_at_most(2, values, "the method split");
    if (values.size() > 1 && !values[1].is_number_integer()) return raise("split wants a whole number");
    const Index most = values.size() > 1 ? values[1].get<Index>() : -1;
    charge_search(self.size(), by.size());
    Json items = Json::array();
    std::size_t begin = 0;
    for (std::size_t found; (most < 0 || items.size() < static_cast<std::size_t>(most)) &&
                            (found = self.find(by, begin)) != self.npos;
         begin = found + by.size())
      items.push_back(charged(self.substr(begin, found - begin)));
    items.push_back(charged(self.substr(begin)));
    return items;
  }

  /// A filter of Jinja's.
  Json filtered(const Json& value, const std::string& filter, const Json& values) {
    const std::string what = "the filter " + filter;
    if (filter == "default" || filter == "d") {
      take_at_most(2, values, what);
      const bool kept = values.size() > 1 && truth(values[1]) ? truth(value) : !value.is_discarded();
      return kept ? charged(value) : values.empty() ? Json("") : values[0];
    }
    if (filter == "trim") {
      take_at_most(1, values, what);
      return stripped(string(value), values.empty() ? Json() : values[0], true, true);
    }
    if (filter == "join") {
      take_at_most(1, values, what);
      const Json items = items_of(value);
      const std::string between = values.empty() ? "" : string(values[0]);
      std::string out;
      for (std::size_t i = 0; i < items.size(); ++i) {
        out += (i > 0 ? between : "") + string(items[i]);
        charge(between.size() + weight(items[i]));
      }
      return out;
    }
    if (filter == "replace" && values.size() == 2 && !string(values[0]).empty())
      return replaced(string(value), string(values[0]), string(values[1]));
    bool known = false;
    for (const std::string_view each : {"tojson", "string", "safe", "list", "length", "count", "first",
                                        "last", "upper", "lower", "title", "capitalize"})
      known = known || filter == each;
    if (!known) refuse(what);
    take_at_most(0, values, what);
    if (filter == "tojson") return json_text(value);
    if (filter == "string") return string(value);
    if (filter == "safe") return charged(value);
    if (filter == "list") return items_of(value);
    if (filter == "length" || filter == "count") {
      if (value.is_string()) return characters_in(value.get_ref<const std::string&>());
      if (value.is_structured()) return value.size();
      return value.is_discarded() ? Json(0) : raise("the length of what has none is asked for");
    }
    if (filter == "first" || filter == "last") return at(items_of(value), filter == "first" ? 0 : -1);
    return cased(string(value), filter, false);
  }

  /// A test of Jinja's.
  bool tested(const Json& value, const std::string& test) const {
    if (test == "defined") return !value.is_discarded();
    if (test == "undefined") return value.is_discarded();
    if (test == "callable") return value.is_binary();
    if (test == "none") return value.is_null();
    if (test == "string") return value.is_string();
    if (test == "mapping") return value.is_object();
    if (test == "iterable" || test == "sequence")
      return value.is_structured() || value.is_string() || value.is_discarded();
    if (test == "number") return value.is_number() || value.is_boolean();
    if (test == "integer") return value.is_number_integer();
    if (test == "float") return value.is_number_float();
    if (test == "boolean") return value.is_boolean();
    if (test == "true" || test == "false") return value.is_boolean() && value.get<bool>() == (test == "true");
    refuse("the test " + test);
  }
};

}  // namespace midus::detail
