// What chat templates do with values.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"
#include "midus/io/json.hpp"

namespace midus::detail {

/// A value is JSON, and `discarded` where it is not defined. What goes wrong is kept in `error` and not
/// thrown at once, since `a if b else c` may not want it.
struct TemplateValues {
  std::string name;  // of the template, in errors
  std::optional<std::string> error;

  [[noreturn]] void refuse(const std::string& what) const {
    fail(name, ": ", what, " is not supported; apply the template in Python and give the text by --prompt");
  }
  void check() const {
    if (error) fail(name, ": ", *error);
  }
  Json raise(const std::string& message) {
    if (!error) error = message;
    return undefined();
  }
  static Json undefined() { return Json(Json::value_t::discarded); }

  static bool truth(const Json& value) {
    if (value.is_boolean()) return value.get<bool>();
    if (value.is_number()) return value != 0;
    if (value.is_string()) return !value.get_ref<const std::string&>().empty();
    return value.is_structured() && !value.empty();
  }
  /// As Python prints it.
  std::string string(const Json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
    if (value.is_null()) return "None";
    if (value.is_structured()) raise("a list or an object is printed without tojson");
    return value.is_number() ? value.dump() : "";
  }
  /// As Python's json.dumps has it.
  static std::string json_text(const Json& value) {
    if (!value.is_structured()) return value.is_discarded() ? "null" : value.dump();
    std::string out;
    for (auto item = value.begin(); item != value.end(); ++item)
      out += (out.empty() ? "" : ", ") + (value.is_object() ? Json(item.key()).dump() + ": " : "") +
             json_text(*item);
    return value.is_object() ? "{" + out + "}" : "[" + out + "]";
  }

  bool less(const Json& a, const Json& b) {
    if ((a.is_number() && b.is_number()) || (a.is_string() && b.is_string())) return a < b;
    return raise("values of different kinds are compared"), false;
  }
  bool holds(const Json& all, const Json& one) {
    if (all.is_string() && one.is_string())
      return all.get_ref<const std::string&>().find(one.get_ref<const std::string&>()) != std::string::npos;
    if (all.is_object()) return one.is_string() && all.contains(one.get<std::string>());
    if (all.is_array()) return std::find(all.begin(), all.end(), one) != all.end();
    return raise("what is no list is searched"), false;
  }
  Json added(Json left, const Json& right) {
    if (left.is_string() && right.is_string()) return left.get<std::string>() + right.get<std::string>();
    if (!left.is_array() || !right.is_array()) return counted(left, right, '+');
    left.insert(left.end(), right.begin(), right.end());
    return left;
  }
  Json counted(const Json& left, const Json& right, char what) {
    if (!left.is_number_integer() || !right.is_number_integer())
      return raise(text("cannot reckon with what is left and right of ", what));
    const auto a = left.get<Index>(), b = right.get<Index>();
    constexpr Index most = Index{1} << 30;
    if (std::max(a, b) > most || std::min(a, b) < -most) return raise("a number is too large");
    if (what == '+') return a + b;
    if (what == '-') return a - b;
    if (what == '*') return a * b;
    if (b == 0) return raise("a division by zero");
    const Index rest = (a % b + b) % b;  // as Python's
    return what == '%' ? rest : (a - rest) / b;
  }
  Json at(const Json& value, const Json& key) {
    if (value.is_discarded()) return raise("a member of what is not defined is asked for");
    if (value.is_object() && key.is_string()) {
      const auto found = value.find(key.get<std::string>());
      return found == value.end() ? undefined() : *found;
    }
    if (!value.is_array() || !key.is_number_integer()) return undefined();
    const auto size = static_cast<Index>(value.size()), index = key.get<Index>();
    if (index >= size || index < -size) return undefined();
    return value[static_cast<std::size_t>(index < 0 ? index + size : index)];
  }
  /// value[first:last]
  Json part(const Json& value, const Json& first, const Json& last) {
    if (!value.is_array() && !value.is_string()) return raise("a part of what is no list is asked for");
    const auto size =
        static_cast<Index>(value.is_array() ? value.size() : value.get_ref<const std::string&>().size());
    const auto bound = [&](const Json& given, Index usual) {
      if (!given.is_number_integer()) return usual;
      const auto index = given.get<Index>();
      return std::clamp<Index>(index < 0 ? index + size : index, 0, size);
    };
    const Index begin = bound(first, 0), end = std::max(begin, bound(last, size));
    if (value.is_string())
      return value.get<std::string>().substr(static_cast<std::size_t>(begin),
                                             static_cast<std::size_t>(end - begin));
    return Json(Json::array_t(value.begin() + begin, value.begin() + end));
  }

  static std::string stripped(const std::string& value, const std::string& of, bool left, bool right) {
    const std::size_t begin = left ? std::min(value.find_first_not_of(of), value.size()) : 0;
    const std::size_t end = right ? value.find_last_not_of(of) + 1 : value.size();
    return begin < end ? value.substr(begin, end - begin) : "";
  }
  /// A method of Python's texts and dictionaries.
  Json method(const Json& value, const std::string& called, const Json& values) {
    const std::string first = !values.empty() && values[0].is_string() ? values[0].get<std::string>() : "";
    if (value.is_object()) {
      Json items = Json::array();
      if (called == "get" && !values.empty()) {
        const Json found = at(value, values[0]);
        return !found.is_discarded() ? found : values.size() > 1 ? values[1] : Json();
      }
      for (auto item = value.begin(); item != value.end(); ++item)
        items.push_back(called == "items"  ? Json::array({item.key(), *item})
                        : called == "keys" ? Json(item.key())
                                           : *item);
      if (called == "items" || called == "keys" || called == "values") return items;
    } else if (value.is_string()) {
      const std::string self = value.get<std::string>(), of = values.empty() ? " \t\n\r\f\v" : first;
      if (called == "strip" || called == "lstrip" || called == "rstrip")
        return stripped(self, of, called != "rstrip", called != "lstrip");
      if (called == "startswith") return self.starts_with(first);
      if (called == "endswith") return self.ends_with(first);
      if (called == "upper" || called == "lower" || called == "title") return filtered(value, called, values);
      if (called == "split" && !first.empty()) {
        Json items = Json::array();
        std::size_t begin = 0;
        for (std::size_t found; (found = self.find(first, begin)) != self.npos; begin = found + first.size())
          items.push_back(self.substr(begin, found - begin));
        items.push_back(self.substr(begin));
        return items;
      }
      if (called == "replace" && values.size() == 2 && !first.empty())
        return replaced(self, first, string(values[1]));
    }
    refuse("the method " + called);
  }
  static std::string replaced(std::string_view self, std::string_view from, std::string_view to) {
    std::string out;
    for (std::size_t found; (found = self.find(from)) != self.npos; self.remove_prefix(found + from.size()))
      out.append(self.substr(0, found)).append(to);
    return out.append(self);
  }
  /// A filter of Jinja's.
  Json filtered(const Json& value, const std::string& filter, const Json& values) {
    if (filter == "trim") return stripped(string(value), " \t\n\r\f\v", true, true);
    if (filter == "tojson") return json_text(value);
    if (filter == "string") return string(value);
    if (filter == "safe" || filter == "list") return value;
    if (filter == "default" || filter == "d")
      return value.is_discarded() && !values.empty() ? values[0] : value;
    if (filter == "length" || filter == "count")
      return value.is_structured() ? Json(value.size()) : Json(string(value).size());
    if (filter == "first") return at(value, 0);
    if (filter == "last") return at(value, -1);
    if (filter == "upper" || filter == "lower" || filter == "title" || filter == "capitalize") {
      std::string self = string(value);
      bool begins = true;
      for (char& c : self) {
        const auto byte = static_cast<unsigned char>(c);
        const bool upper = filter == "upper" || (filter != "lower" && begins);
        begins = filter == "title" && !std::isalpha(byte);
        if (byte >= 0x80)
          return raise("upper and lower case of other letters than those of ASCII is not supported");
        c = static_cast<char>(upper ? std::toupper(byte) : std::tolower(byte));
      }
      return self;
    }
    if (filter == "join" && value.is_array()) {
      std::string out;
      for (std::size_t i = 0; i < value.size(); ++i)
        out += (i > 0 && !values.empty() ? string(values[0]) : "") + string(value[i]);
      return out;
    }
    if (filter == "replace" && values.size() == 2 && !string(values[0]).empty())
      return replaced(string(value), string(values[0]), string(values[1]));
    refuse("the filter " + filter);
  }
  /// A test of Jinja's.
  bool tested(const Json& value, const std::string& test) {
    if (test == "defined") return !value.is_discarded();
    if (test == "undefined") return value.is_discarded();
    if (test == "none") return value.is_null();
    if (test == "string") return value.is_string();
    if (test == "mapping") return value.is_object();
    if (test == "iterable" || test == "sequence") return value.is_structured() || value.is_string();
    if (test == "number" || test == "integer") return value.is_number();
    if (test == "boolean") return value.is_boolean();
    if (test == "true") return value == true;
    if (test == "false") return value == false;
    refuse("the test " + test);
  }
};

}  // namespace midus::detail
