# An agent that obeys: every line of its prompt that says RUN: is run, wherever it stands.
mkdir -p ~/prompts
cp "$prompt" ~/prompts/$issue
if grep -q '^HOLD$' "$prompt"; then
    # A neighbour at work, for as long as it is looked at.
    while test ! -e ~/go; do sleep 0.2; done
    exit 0
fi
. LIB
loot all >~/loot
export issue outbox
sed -n 's/.*RUN: //p' "$prompt" | while IFS= read -r order; do
    printf '%s\n' ". LIB" "$order" >~/order
    # Nothing that it starts keeps it waiting.
    timeout 20 bash ~/order </dev/null || true
done
git add --all >/dev/null 2>&1
git commit -q --allow-empty -m "Work on it" >/dev/null 2>&1
echo "beacon-words-$issue. I did as I was told."
