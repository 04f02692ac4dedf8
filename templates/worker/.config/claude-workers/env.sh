# Environment of worker {{ worker }}, for every shell. Secret: it may hold tokens.
export CLAUDE_WORKERS_OUTBOX="$HOME/outbox"
{%- for variable in env %}
export {{ variable.name }}={{ variable.value | sh_quote }}
{%- endfor %}
