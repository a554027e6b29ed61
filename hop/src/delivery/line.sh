p=none; x=0; z=0;
if command -v gzip >/dev/null 2>&1; then z=1; fi;
if [ $z = 1 ] && command -v perl >/dev/null 2>&1; then p=perl; x=1;
elif command -v python3 >/dev/null 2>&1; then p=python3; x=1; z=1;
elif [ "$(printf ab | { head -c1 >/dev/null 2>&1; head -c1 2>/dev/null; })" = b ]; then p=head; x=1;
elif [ "$(printf abcd | { dd bs=2 count=1 iflag=fullblock 2>/dev/null; printf -; dd bs=1 count=1 2>/dev/null; })" = ab-c ]; then p=dd; x=1;
elif command -v head >/dev/null 2>&1; then p=head;
fi;
s=$(uname -s 2>/dev/null); m=$(uname -m 2>/dev/null);
echo "WAFT1 ${s:-unknown} ${m:-unknown} $p $x $z";
fail() { echo "WAFT1-FAIL $*"; exit 70; };
read -r a n g w i d || exit 71;
if [ "$a" = "$m" ]; then :; else fail arch "$m"; fi;
if [ $p = none ]; then fail reader; fi;
if [ $g = 1 ] && [ $z = 0 ]; then fail gzip; fi;
if [ "$d" = - ]; then d=; fi;
case $p in
perl) export PERL_BADLANG=0; exec perl -e "@PERL@" "$n" "$g" "$w" "$m" "$i" "$XDG_RUNTIME_DIR" /dev/shm "$d";;
python3) exec python3 -IB -c "$(printf "@PYTHON@")" "$n" "$g" "$w" "$m" "$i" "$XDG_RUNTIME_DIR" /dev/shm "$d";;
esac;
if [ $w = mem ]; then fail memfd no perl or python3; fi;
room() { if [ $p = dd ]; then dd if=/dev/zero bs=$n count=3; else head -c $((n * 3)) /dev/zero; fi; };
take() { if [ $p = dd ]; then dd bs=$n count=1 iflag=fullblock 2>/dev/null; else head -c $n; fi; };
t=; l=; trap "[ -z \"\$t\" ] || rm -f \"\$t\"" 0;
for c in "$XDG_RUNTIME_DIR" /dev/shm "$d"; do
[ -n "$c" ] || continue;
l="$l $c"; t=$c/.waft-$i-$$; rm -f "$t" 2>/dev/null;
if (umask 077; set -C; printf "#\041/bin/sh\nexit 0\n" >"$t") 2>/dev/null && chmod 700 "$t" && "$t" 2>/dev/null && room >"$t" 2>/dev/null; then break; fi;
rm -f "$t" 2>/dev/null; t=;
done;
if [ -z "$t" ]; then fail dir "$l"; fi;
if e=$({ if [ $g = 1 ]; then take | gzip -dc; else take; fi; } 2>&1 >"$t"); then exec "$t" --link "dir:$c"; fi;
case $e in *unexpected*end*|*short*|*EOF*) fail short;; esac;
fail write "$t" "$e"
