# Read by login shells (sh, bash). The values themselves are in one file for all shells.
if [ -r "$HOME/.config/claude-workers/env.sh" ]; then
  . "$HOME/.config/claude-workers/env.sh"
fi
