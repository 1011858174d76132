// One desk per browser: two tabs of one person would hold the same item, and close it under each other.

/**
 * Become the tab that works. Resolves to true once it is, to false when another one is; with `steal` the other one stops.
 * `onLost` is called when another tab takes over later. Browsers without locks let every tab work.
 */
export function takeOver(name, { steal = false, onLost }) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    const options = steal ? { steal: true } : { ifAvailable: true };
    const held = (lock) => {
      resolve(lock !== null);
      return lock === null ? null : new Promise(() => {});
    };
    navigator.locks.request(name, options, held).catch(onLost);
  });
}
