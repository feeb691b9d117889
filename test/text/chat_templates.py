#!/usr/bin/env python3
"""Writes chat_templates.json beside this file: templates, and what transformers makes of them.

    python test/text/chat_templates.py [--check]

With --check it compares what is there; 77 where there is no transformers.
"""

import json
import sys
from pathlib import Path

try:
    from transformers.utils.chat_template_utils import _compile_jinja_template as compiled
except ImportError:
    print("SKIPPED: this python has no transformers")
    sys.exit(77)

TEMPLATES = [
"{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|s|>none<|e|>\\n' }}{% endif %}{{'<|s|>' + message['role'] + '\\n' + message['content'] + '<|e|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|s|>assistant\\n' }}{% endif %}",
"{% set all = messages %}{% for message in all %}{% set content = '<h>' + message['role'] + '</h>\\n\\n'+ message['content'] | trim + '<eot>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{{ '<h>assistant</h>\\n\\n' if add_generation_prompt else '' }}",
"""{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul" %}
{%- endif %}
{#- a comment #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = "" %}
{%- endif %}
{{- "<sys>" }}
{%- if tools is not none and tools %}
    {{- tools | tojson(indent=4) }}
{%- endif %}
{{- "Date: " + date_string + "\\n\\n" }}
{{- system }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}
        {{- '<' + message['role'] + '>' + message['content'] | trim + '</>' }}
    {%- elif message.tool_calls|length != 1 %}
        {{- raise_exception("one at a time") }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<assistant>' }}
{%- endif %}
""",
"""{% if messages[0]['role'] == 'system' %}
  {% set offset = 1 %}
{% else %}
  {% set offset = 0 %}
{% endif %}
{{ bos_token }}
{% for message in messages %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == offset) %}
      {{ raise_exception('roles must alternate') }}
    {% endif %}
    [{{ loop.index }}/{{ loop.length }}{% if loop.last %} last{% endif %}] {{ message['content'].strip() | upper }}
{% endfor %}
""",
"{%- set ns = namespace(seen=false, n=0) -%}\n{%- for m in messages if m['role'] != 'system' -%}\n{%- set ns.seen = true -%}{%- set ns.n = ns.n + loop.index -%}\n  {{ m.content.split(' ')[-1] ~ ns.n }}\n{%- else -%} none {%- endfor -%}\n{{ ns.seen }} {{ none }} {{ messages[-1].missing is defined }} {{ x or 'y' }} {{ 7 // 2 * 3 - -1 }}",
"{% for k, v in messages[0].items() %}{{ k }}={{ v | tojson }};{% endfor %}{{ messages | length }}{{ messages[0] | tojson }}{{ ['a', 'b'] | join(', ') }}{{ 'abc'[1:] }}{{ 'x' in 'xyz' and 'role' in messages[0] and not 'q' in ['r'] }}{{ {'a': 1}['a'] }}{{ 'A b'.lower().startswith('a ') }}",
"{% for i in range(4) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}|{{ 'a' if false else 'b' if 1 > 2 else 'c' }}|{{ (raise_exception('no') if false else 'fine') }}|{{ 'a\\tb' }}|{{ name | default('nobody') }}\n",
"a {%+ if true %} b\n{% endif +%}\n c {{- ' d ' -}} e\n\n   {%- if true %}\n\n f\n{% endif %}\n  {# note #}\n g {% set q = {'k': [1, true, none, 'é\"']} %}{{ q | tojson }}",
"{{ strftime_now is defined }}{{ raise_exception is defined }}{{ namespace is not defined }}{{ range is callable }}{{ dict is defined }}{{ date is defined }}{{ 'now' if strftime_now else 'never' }}",
"{{ range(0, 6, 2) | list | tojson }}{{ range(3, 0, -1) | join(',') }}{{ range(5, 2) | length }}{% for m in messages %}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.depth }}{% endfor %}{% for m in messages[::-1] %}{{ m.role }}{% endfor %}{{ messages[1:-1] | length }}",
"{{ 'Héllo'[0] }}{{ 'Héllo'[1] }}{{ 'Héllo'[-1] }}{{ 'Héllo'[9] }}|{{ 'Héllo'[:2] }}{{ 'Héllo'[4:0:-2] }}{{ 'Héllo' | length }}{{ 'é€😀' | last | tojson }}{{ 'é€' | list | tojson }}{% for c in 'é€' %}{{ c }},{% endfor %}{{ 'é€' | join('-') }}{{ y | length }}",
"{{ '' | default('d', true) }}{{ '' | default('d') }}{{ none | default('d') }}{{ y | d }}{{ 1.5 }}{{ [0.25, 1.0] | tojson }}{{ true == 1 }}{{ 1 in [true] }}{{ true is number }}{{ true is integer }}{{ 1.5 is integer }}{{ 1.5 is float }}{{ 1 is true }}{{ {'a': 1, 'b': 2} == {'b': 2, 'a': true} }}",
"{{ '\\u0041\\x42\\103\\u00e9\\U0001F600\\q\\'\\\\\\f' }}{{ 'a\\\nb' }}\r\n{% if true %}\r\nc{% endif %}\rd\r\n",
"{{ {'a': {'b': 1}}|tojson }}{{ ({'a': [{}]}) | tojson }}{{ ' }} ' }}{% if {'%}': {'a': 1}}['%}'].a %}x{% endif %}{% for a, b in [[1, 2], 'éf', {'k': 1, 'l': 2}] %}{{ a }}{{ b }}{% endfor %}",
"{{ 'éaé'.strip('é') }}{{ 'éaè'.strip('è') }}{{ '\\u00a0\\u3000a\\u2003' | trim }}|{{ 'xxaxx' | trim('x') }}{{ 'a,b,c'.split(',', 1) | tojson }}{{ \"it's a1b (x)\" | title }}{{ \"it's a1b (x)\".title() }}{{ -1 is number }}{{ {'a': 1}.get('b', 'c') }}",
"a\u00a0{%- if true -%}\u2003\x0bb\u3000\n{%- endif %}\x0c\u2028 {{- 'c' -}}\x1c\x85d\u200b\n \x0b\u00a0{% if true %}e\n\u3000{% endif %}\u2003f\u00a0{% if true %}g{% endif %}\u00a0{{ 'h' }}",
]
VARIABLES = {"messages": [{"role": "system", "content": " Be brief. "}, {"role": "user", "content": "Who are you?\n"},
                          {"role": "assistant", "content": "midus e"}, {"role": "user", "content": "  go on"}],
             "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True, "tools": None}
FILE = Path(__file__).with_suffix(".json")

content = json.dumps({"variables": VARIABLES, "cases": [[t, compiled(t).render(**VARIABLES)] for t in TEMPLATES]}, indent=1) + "\n"
if "--check" in sys.argv[1:]:
    sys.exit(0 if FILE.read_text(encoding="utf-8") == content else f"{FILE.name} is not what transformers gives now")
FILE.write_text(content, encoding="utf-8")
