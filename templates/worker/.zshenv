# Read by every zsh. The values themselves are in one file for all shells.
if [ -r "$HOME/.config/claude-workers/env.sh" ]; then
  . "$HOME/.config/claude-workers/env.sh"
fi
