// What chat templates do with values.
#pragma once

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "midus/core/error.hpp"
#include "midus/core/shape.hpp"
#include "midus/io/json.hpp"
#include "midus/text/unicode.hpp"
#include "midus/text/utf8.hpp"

namespace midus::detail {

/// A value is JSON: `discarded` where it is not defined, `binary` where it is a function. What goes wrong is
/// kept in `error` and not thrown at once, since `a if b else c` may not want it.
struct TemplateValues {
  std::string name;  // of the template, in errors
  std::optional<std::string> error;
  std::size_t made = 0;  // bytes of all values so far, and of the expressions that made them

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
  static Json a_function() { return Json::binary({}); }

  /// Bounds both the memory and the time that a template can take.
  void charge(std::size_t bytes) {
    made += bytes;
    if (made > (std::size_t{64} << 20)) fail(name, " makes too much");
  }
  /// For a text that is searched for another: what it costs where every place begins like the other.
  void charge_search(std::size_t bytes, std::size_t wanted) { charge(bytes * wanted / 256); }
  /// About as many bytes as the value takes.
  std::size_t weight(const Json& value, int depth = 0) const {
    if (depth > 100) fail(name, ": a value is nested too deeply");
    std::size_t bytes = 32 + (value.is_string() ? value.get_ref<const std::string&>().size() : 0);
    if (!value.is_structured()) return bytes;
    for (auto item = value.begin(); item != value.end(); ++item)
      bytes += weight(*item, depth + 1) + (value.is_object() ? 32 + item.key().size() : 0);
    return bytes;
  }
  /// Every value that is kept or becomes part of another goes through here.
  Json charged(Json value) {
    charge(weight(value));
    return value;
  }
  void put(Json& object, const std::string& key, Json value) {
    charge(32 + key.size() + 8 * object.size());  // a key is looked for among all
    object[key] = charged(std::move(value));
  }

  static bool truth(const Json& value) {
    if (value.is_boolean()) return value.get<bool>();
    if (value.is_number()) return value != 0;
    if (value.is_string()) return !value.get_ref<const std::string&>().empty();
    return value.is_binary() || (value.is_structured() && !value.empty());
  }
  /// As Python prints it.
  std::string string(const Json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
    if (value.is_null()) return "None";
    if (value.is_structured()) raise("a list or an object is printed without tojson");
    if (value.is_binary()) raise("a function is printed");
    return value.is_number() ? number(value) : "";
  }
  std::string number(const Json& value) {
    const double size = value.is_number_float() ? std::fabs(value.get<double>()) : 1;
    if (size == 0 || (size >= 1e-4 && size < 1e15)) return value.dump();
    return raise("so large or small a number is printed"), "";
  }
  /// As Python's json.dumps has it.
  std::string json_text(const Json& value) {
    std::string out;
    append_json(out, value);
    return out;
  }
  void append_json(std::string& out, const Json& value) {
    const std::size_t before = out.size();
    const auto quoted = [](const Json& text) {
      return text.dump(-1, ' ', false, Json::error_handler_t::replace);
    };
    if (value.is_discarded() || value.is_binary()) raise("tojson of what is not defined");
    if (value.is_string())
      out += quoted(value);
    else if (value.is_number())
      out += number(value);
    else if (value.is_structured()) {
      out += value.is_object() ? '{' : '[';
      for (auto item = value.begin(); item != value.end(); ++item) {
        if (item != value.begin()) out += ", ";
        if (value.is_object()) out += quoted(item.key()) + ": ";
        append_json(out, *item);
      }
      out += value.is_object() ? '}' : ']';
    } else if (!value.is_discarded() && !value.is_binary()) {
      out += value.dump();
    }
    charge(out.size() - before);
  }

  /// Python's numbers, of which True and False are two.
  static Json as_number(const Json& value) {
    return value.is_boolean() ? Json(value.get<bool>() ? 1 : 0) : value;
  }
  static bool numbers(const Json& a, const Json& b) {
    return (a.is_number() || a.is_boolean()) && (b.is_number() || b.is_boolean());
  }
  static bool equal(const Json& a, const Json& b) {
    if (numbers(a, b)) return as_number(a) == as_number(b);
    if (a.is_discarded() || b.is_discarded()) return a.is_discarded() && b.is_discarded();
    if (!a.is_structured() || a.type() != b.type()) return a == b;
    if (a.size() != b.size()) return false;
    for (auto item = a.begin(); item != a.end(); ++item) {
      if (a.is_array()) {
        if (!equal(*item, b[static_cast<std::size_t>(item - a.begin())])) return false;
      } else if (const auto other = b.find(item.key()); other == b.end() || !equal(*item, *other)) {
        return false;
      }
    }
    return true;
  }
  bool less(const Json& a, const Json& b) {
    if (numbers(a, b)) return as_number(a) < as_number(b);
    if (a.is_string() && b.is_string()) return a < b;
    return raise("values of different kinds are compared"), false;
  }
  bool holds(const Json& all, const Json& one) {
    if (all.is_string() && one.is_string()) {
      const auto &text = all.get_ref<const std::string&>(), &wanted = one.get_ref<const std::string&>();
      charge_search(text.size(), wanted.size());
      return text.find(wanted) != std::string::npos;
    }
    if (all.is_object()) return one.is_string() && all.contains(one.get<std::string>());
    if (all.is_array())
      return std::any_of(all.begin(), all.end(), [&](const Json& each) { return equal(each, one); });
    if (!all.is_discarded()) raise("what is no list is searched");
    return false;
  }
  Json added(Json left, const Json& right) {
    const bool texts = left.is_string() && right.is_string();
    if (!texts && (!left.is_array() || !right.is_array())) return counted(left, right, '+');
    charge(weight(right));
    if (texts)
      left.get_ref<std::string&>() += right.get_ref<const std::string&>();
    else
      left.insert(left.end(), right.begin(), right.end());
    return left;
  }
  Json counted(const Json& left, const Json& right, char what) {
    const Json of_left = as_number(left), of_right = as_number(right);
    if (!of_left.is_number_integer() || !of_right.is_number_integer())
      return raise(text("cannot reckon with what is left and right of ", what));
    const auto a = of_left.get<Index>(), b = of_right.get<Index>();
    constexpr Index most = Index{1} << 30;
    if (std::max(a, b) > most || std::min(a, b) < -most) return raise("a number is too large");
    if (what == '+') return a + b;
    if (what == '-') return a - b;
    if (what == '*') return a * b;
    if (b == 0) return raise("a division by zero");
    const Index rest = (a % b + b) % b;  // as Python's
    return what == '%' ? rest : (a - rest) / b;
  }

  /// What Python goes through in a `for`: characters, keys or items; nothing where it is not defined.
  Json items_of(const Json& value) {
    if (value.is_array()) return charged(value);
    Json items = Json::array();
    if (value.is_object())
      for (auto item = value.begin(); item != value.end(); ++item) items.push_back(charged(item.key()));
    else if (value.is_string())
      for (std::string_view left = value.get_ref<const std::string&>(); !left.empty();) {
        const std::size_t bytes = first_character(left).bytes;
        items.push_back(charged(std::string(left.substr(0, bytes))));
        left.remove_prefix(bytes);
      }
    else if (!value.is_discarded())
      raise("a list is wanted");
    return items;
  }
  /// A member that lies in the value itself.
  static const Json* member(const Json& value, const Json& key) {
    if (value.is_object() && key.is_string()) {
      const auto found = value.find(key.get_ref<const std::string&>());
      return found == value.end() ? nullptr : &*found;
    }
    if (!value.is_array() || !key.is_number_integer()) return nullptr;
    const auto size = static_cast<Index>(value.size()), index = key.get<Index>();
    if (index >= size || index < -size) return nullptr;
    return &value[static_cast<std::size_t>(index < 0 ? index + size : index)];
  }
  Json at(const Json& value, const Json& key) {
    if (value.is_discarded()) return raise("a member of what is not defined is asked for");
    if (value.is_string() && key.is_number_integer()) return at(items_of(value), key);
    const Json* const found = member(value, key);
    return found == nullptr ? undefined() : charged(*found);
  }
  /// value[first:last:step], where null is as if it were not there
  Json part(const Json& value, const Json& first, const Json& last, const Json& step) {
    if (!value.is_array() && !value.is_string()) return raise("a part of what is no list is asked for");
    for (const Json* const each : {&first, &last, &step})
      if (!each->is_null() && !each->is_number_integer()) return raise("a part begins or ends at no number");
    const Json items = items_of(value);
    const auto size = static_cast<Index>(items.size()), by = step.is_null() ? 1 : step.get<Index>();
    if (by == 0) return raise("a part with steps of zero");
    const Index low = by > 0 ? 0 : -1, high = by > 0 ? size : size - 1;
    const auto bound = [&](const Json& given, Index usual) {
      if (given.is_null()) return usual;
      const auto index = given.get<Index>();
      return std::clamp<Index>(index < 0 ? index + size : index, low, high);
    };
    const Index begin = bound(first, by > 0 ? low : high), end = bound(last, by > 0 ? high : low);
    Json found = Json::array();
    std::string letters;
    for (Index i = begin; by > 0 ? i < end : i > end;) {
      const Json& item = items[static_cast<std::size_t>(i)];
      if (value.is_string())
        letters += item.get_ref<const std::string&>();
      else
        found.push_back(charged(item));
      if (by > size || by < -size) break;
      i += by;
    }
    return value.is_string() ? Json(letters) : found;
  }

  /// `of`: the characters to take away, or null for white space.
  Json stripped(std::string_view value, const Json& of, bool left, bool right) {
    if (!of.is_null() && !of.is_string()) return raise("what is stripped is no text");
    if (of.is_string()) charge_search(value.size(), of.get_ref<const std::string&>().size());
    const auto goes = [&](std::string_view character) {
      if (of.is_string()) return of.get_ref<const std::string&>().find(character) != std::string::npos;
      return is_python_space(first_character(character).value);
    };
    while (left && !value.empty() && goes(value.substr(0, first_character(value).bytes)))
      value.remove_prefix(first_character(value).bytes);
    while (right && !value.empty()) {
      const std::size_t begin = last_character(value);
      if (!goes(value.substr(begin))) break;
      value.remove_suffix(value.size() - begin);
    }
    return std::string(value);
  }
  Json replaced(std::string_view self, const std::string& from, const std::string& to) {
    charge_search(self.size(), from.size());
    std::string out;
    for (std::size_t found; (found = self.find(from)) != self.npos; self.remove_prefix(found + from.size())) {
      charge(32 + found + to.size());
      out.append(self.substr(0, found)).append(to);
    }
    return out.append(self);
  }
  /// In which a title's words begin: behind what is no letter for the method, behind blanks and opening
  /// brackets for the filter.
  Json cased(std::string self, const std::string& how, bool method) {
    bool begins = true;
    for (char& c : self) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte >= 0x80)
        return raise("upper and lower case of other letters than those of ASCII is not supported");
      const bool upper = how == "upper" || (how != "lower" && begins);
      begins =
          how == "title" && (method ? !std::isalpha(byte)
                                    : std::string_view("-({[< \t\n\r\f\v").find(c) != std::string_view::npos);
      c = static_cast<char>(upper ? std::toupper(byte) : std::tolower(byte));
    }
    return self;
  }
};

}  // namespace midus::detail
